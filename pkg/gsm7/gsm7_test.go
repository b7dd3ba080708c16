package gsm7_test

import (
	"strings"
	"testing"

	"go.uber.org/goleak"

	"doorcode/pkg/gsm7"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// figure is a text and what it must count as.
type figure struct {
	name, text   string
	parts, units int
	alphabet     gsm7.Alphabet
}

// verify counts each text and compares.
func verify(t *testing.T, figures []figure) {
	t.Helper()
	for _, f := range figures {
		parts, units, alphabet := gsm7.Parts(f.text)
		if parts != f.parts || units != f.units || alphabet != f.alphabet {
			t.Errorf("%s: %d parts, %d units, %s; want %d, %d, %s", f.name, parts, units, alphabet, f.parts, f.units, f.alphabet)
		}
	}
}

// TestParts_CountsAsWasMeasured holds the figures of providers.md 4.5.
func TestParts_CountsAsWasMeasured(t *testing.T) {
	t.Parallel()
	const origin = "\n\n@example.com #123456"
	english := "123456 is your ExampleCo code. It expires in 5 minutes. Don't share it." + origin
	verify(t, []figure{
		{"English", english, 1, 93, gsm7.GSM7},
		{"English with a typographic apostrophe", strings.Replace(english, "'", "’", 1), 2, 93, gsm7.UCS2},
		{"German with ü", "123456 ist Ihr Code für ExampleCo. Er gilt 5 Minuten. Nie mitteilen!" + origin, 1, 90, gsm7.GSM7},
		{"French with à", "123456 est votre code ExampleCo. Expire dans 5 minutes. Ne le dites à personne!" + origin, 1, 101, gsm7.GSM7},
		{"French with ê", "123456 est votre code ExampleCo pour 5 minutes. Vous êtes tout près." + origin, 2, 90, gsm7.UCS2},
		{"Spanish with ó", "123456 es su código de ExampleCo. Caduca en 5 minutos." + origin, 2, 76, gsm7.UCS2},
		{"Portuguese with ó and ã, kept short", "123456 e o seu código. Não o partilhe com nadie." + origin, 1, 70, gsm7.UCS2},
		{"Polish", "123456 to Twój kod ExampleCo. Ważny przez 5 minut" + origin, 2, 71, gsm7.UCS2},
		{"Russian, short", "123456 ваш код: ExampleCo" + origin, 1, 47, gsm7.UCS2},
		{"Russian, a full sentence", "123456 - ваш код для входа в ExampleCo. Действует 5 минут. Скорее" + origin, 2, 87, gsm7.UCS2},
		{"Japanese", "123456 は ExampleCo の番号です" + origin, 1, 46, gsm7.UCS2},
		{"Arabic", "123456 هو رمز ExampleCo الخاصة" + origin, 1, 52, gsm7.UCS2},
	})
}

func TestParts_ChangesAtTheEdges(t *testing.T) {
	t.Parallel()
	const euro = "€"
	a, cyrillic := strings.Repeat, "я"
	verify(t, []figure{
		{"nothing", "", 1, 0, gsm7.GSM7},
		{"a full part", a("a", 160), 1, 160, gsm7.GSM7},
		{"one more", a("a", 161), 2, 161, gsm7.GSM7},
		{"two full parts", a("a", 306), 2, 306, gsm7.GSM7},
		{"one more than two", a("a", 307), 3, 307, gsm7.GSM7},
		{"80 of two units", a(euro, 80), 1, 160, gsm7.GSM7},
		{"81 of two units", a(euro, 81), 2, 162, gsm7.GSM7},
		{"a pair at the edge of a part", a("a", 152) + euro + a("a", 151), 2, 305, gsm7.GSM7},
		{"a pair that does not fit any more", a("a", 152) + euro + a("a", 152), 3, 306, gsm7.GSM7},
		{"a full wide part", a(cyrillic, 70), 1, 70, gsm7.UCS2},
		{"one more wide", a(cyrillic, 71), 2, 71, gsm7.UCS2},
		{"two full wide parts", a(cyrillic, 134), 2, 134, gsm7.UCS2},
		{"one more than two wide", a(cyrillic, 135), 3, 135, gsm7.UCS2},
		{"35 surrogate pairs", a("🔑", 35), 1, 70, gsm7.UCS2},
		{"36 surrogate pairs", a("🔑", 36), 2, 72, gsm7.UCS2},
		{"67 surrogate pairs do not fit in two parts", a("🔑", 67), 3, 134, gsm7.UCS2},
		{"every character is wide with one that is", a("a", 69) + cyrillic, 1, 70, gsm7.UCS2},
		{"an extended one is narrow in UCS-2", euro + cyrillic, 1, 2, gsm7.UCS2},
		{"not UTF-8", "a\xff", 1, 2, gsm7.UCS2},
	})
}

func TestParts_KnowsTheAlphabet(t *testing.T) {
	t.Parallel()
	for want, characters := range map[int]string{
		1: "@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞÆæßÉ !\"#¤%&'()*+,-./0123456789:;<=>?¡ABCDEFGHIJKLMNOPQRSTUVWXYZÄÖÑÜ§¿abcdefghijklmnopqrstuvwxyzäöñüà",
		2: "|^€{}[]~\\\f",
	} {
		for _, r := range characters {
			verify(t, []figure{{string(r), string(r), 1, want, gsm7.GSM7}})
		}
	}
	count := 0
	for r := range rune(0x10000) {
		if r >= 0xd800 && r < 0xe000 {
			continue // Halves of pairs are no characters.
		}
		_, _, alphabet := gsm7.Parts(string(r))
		if alphabet == gsm7.GSM7 {
			count++
		}
	}
	if count != 127+10 {
		t.Errorf("%d characters in GSM-7, want 127 (128 less the escape) and 10 extended ones", count)
	}
	for _, r := range "çáíóúêâîôûãõşğı`\t\u00a0’“”–…\x1b\x00🔑" {
		_, _, alphabet := gsm7.Parts("plain " + string(r))
		if alphabet != gsm7.UCS2 {
			t.Errorf("%q counts as GSM-7", r)
		}
	}
}

// FuzzParts proves, by the plain arithmetic, that no count is too small and
// none is more than one part in 67 above it.
func FuzzParts(f *testing.F) {
	for _, seed := range []string{"", "a", "€", "я", "🔑", strings.Repeat("a€", 200), strings.Repeat("🔑я", 100), "\xff"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		parts, units, alphabet := gsm7.Parts(text)
		single, joined := 160, 153
		if alphabet == gsm7.UCS2 {
			single, joined = 70, 67
		}
		least, most := (units+joined-1)/joined, (units+joined-2)/(joined-1)
		if units <= single {
			least, most = 1, 1
		}
		if parts < least || parts > most {
			t.Errorf("%d parts for %d units of %s, want %d to %d", parts, units, alphabet, least, most)
		}
	})
}
