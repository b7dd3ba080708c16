package sandbox

import (
	"encoding/base64"
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestAmount_HasEightDecimals(t *testing.T) {
	t.Parallel()
	for n, want := range map[int64]string{
		0: "0.00000000", 1: "0.00000001", smsPrice: "0.05500000", euro - 1: "0.99999999", euro: "1.00000000",
		15*euro + 53_590_000: "15.53590000", -1: "-0.00000001", -euro - 1: "-1.00000001",
	} {
		if got := amount(n); got != want {
			t.Errorf("amount(%d) = %s, want %s", n, got, want)
		}
	}
}

func TestNetwork_IsThatOfTheCountry(t *testing.T) {
	t.Parallel()
	for to, want := range map[string]string{
		"447911123456": "23410", "34600111222": "21407", "12025550123": "310090", "4915112345678": "26201", "33612345678": "20801",
		"99912345678": "99999", "": "99999",
	} {
		if got := network(to); got != want {
			t.Errorf("network(%s) = %s, want %s", to, got, want)
		}
	}
}

func TestBare_TakesThePlusOffNumbersOnly(t *testing.T) {
	t.Parallel()
	for to, want := range map[string]string{
		"+447911123456": "447911123456", " 447911123456": "447911123456", "447911123456": "447911123456", "": "", "+": "+",
		"+ada@example.net": "+ada@example.net", "ada@example.net": "ada@example.net", "44 7911": "44 7911", "٤٤": "٤٤",
	} {
		if got := bare(to); got != want {
			t.Errorf("bare(%q) = %q, want %q", to, got, want)
		}
	}
	for to, want := range map[string]string{"447911123456": "+447911123456", "ada@example.net": "ada@example.net", "": ""} {
		if got := plus(to); got != want {
			t.Errorf("plus(%q) = %q, want %q", to, got, want)
		}
	}
}

func TestBelow_TakesOneSegment(t *testing.T) {
	t.Parallel()
	for path, want := range map[string]struct {
		segment string
		ok      bool
	}{
		"/a":     {"", true},
		"/a/b":   {"b", true},
		"/a/":    {"", false},
		"/a/b/":  {"", false},
		"/a/b/c": {"", false},
		"/ab":    {"", false},
		"/b":     {"", false},
	} {
		segment, ok := below(path, "/a")
		if segment != want.segment || ok != want.ok {
			t.Errorf("below(%s) = %q, %v; want %q, %v", path, segment, ok, want.segment, want.ok)
		}
	}
}

func TestWebAddress_IsAbsoluteAndOfTheWeb(t *testing.T) {
	t.Parallel()
	for address, want := range map[string]bool{
		"http://127.0.0.1:1/a?b=c": true, "https://example.com": true, "HTTPS://example.com": true,
		"": false, "/a": false, "example.com": false, "ftp://example.com": false, "http://": false, "http://:80/": false,
		"http://user:word@example.com": false, "http://[": false, "javascript:alert(1)": false,
	} {
		if got := webAddress(address); got != want {
			t.Errorf("webAddress(%q) = %v, want %v", address, got, want)
		}
	}
}

func TestWithin_HoldsItsBounds(t *testing.T) {
	t.Parallel()
	check := within(minTTL, maxTTL)
	for value, want := range map[string]bool{
		"20000": true, "604800000": true, "19999": false, "604800001": false, "": false, "1e5": false, "20000.0": false, "-20000": false,
		"99999999999999999999": false, "+20000": true,
	} {
		if got := check(value); got != want {
			t.Errorf("ttl %q = %v, want %v", value, got, want)
		}
	}
	if ttl("") != 0 || ttl("20000") != 20*time.Second {
		t.Error("a life in milliseconds is read wrongly")
	}
}

func TestShown_ReplacesWhatThePhoneCannotShow(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"plain £€[]": "plain £€[]", "é à ü Ñ": "é à ü Ñ", "ê ç ó": "? ? ?", "a\tb": "a?b", "🔑": "?", "`’": "??", "line\nline": "line\nline",
	} {
		got, _ := (&smsRequest{fields: map[string]string{"text": text}}).shown()
		if got != want {
			t.Errorf("shown %q = %q, want %q", text, got, want)
		}
		got, _ = (&smsRequest{fields: map[string]string{"text": text, "type": "unicode"}}).shown()
		if got != text {
			t.Errorf("unicode %q = %q", text, got)
		}
	}
}

func TestReports_IsTheDefault(t *testing.T) {
	t.Parallel()
	for value, want := range map[string]bool{"": true, "true": true, "1": true, "false": false, "0": false, "False": false} {
		q := &smsRequest{fields: map[string]string{"status-report-req": value}}
		if q.reports() != want {
			t.Errorf("%q = %v, want %v", value, q.reports(), want)
		}
	}
}

func TestEventName_TellsWhatItIsAbout(t *testing.T) {
	t.Parallel()
	for kind, want := range map[string]string{"processed": "processed-100001-id-2", "dropped": "drop-100001-id-2", "bounce": "bounce-100001-id-2"} {
		name, err := base64.RawURLEncoding.DecodeString(eventName(kind, "id", 2))
		if err != nil || string(name) != want {
			t.Errorf("%s = %s, %v; want %s", kind, name, err, want)
		}
	}
	if len(eventName("processed", newSource("").mailID(), 999)) > 100 {
		t.Error("an id has more than 100 characters")
	}
}

// TestDocument_HasTheKeysOfEachKind holds the table of providers.md 3.2.
func TestDocument_HasTheKeysOfEachKind(t *testing.T) {
	t.Parallel()
	always := []string{"email", "event", "sg_event_id", "sg_message_id", "timestamp"}
	for _, row := range []struct {
		event mailEvent
		more  []string
	}{
		{mailEvent{Kind: "processed"}, []string{"smtp-id"}},
		{mailEvent{Kind: "dropped", Reason: "Invalid", Status: "5.0.0"}, []string{"reason", "smtp-id", "status"}},
		{mailEvent{Kind: "delivered", Response: mailTaken}, []string{"ip", "response", "smtp-id", "tls"}},
		{deferred("1"), []string{"attempt", "ip", "reason", "response", "smtp-id"}},
		{bounces("bounce", "5.1.1", unknownUser, "Invalid Address"), []string{"bounce_classification", "ip", "reason", "smtp-id", "status", "tls", "type"}},
		{mailEvent{Kind: "spamreport"}, nil},
	} {
		event := row.event
		event.mail, event.at, event.id = Message{ID: "m.0", ProviderID: "m", To: "ada@example.net"}, noon(), "e"
		want := slices.Sorted(slices.Values(slices.Concat(always, row.more)))
		diff := cmp.Diff(want, slices.Sorted(maps.Keys(event.document())))
		if diff != "" {
			t.Errorf("%s: keys differ (-want +got):\n%s", event.Kind, diff)
		}
	}
}

func TestPause_GrowsToAQuarterOfAnHour(t *testing.T) {
	t.Parallel()
	var got []time.Duration
	for tries := range 10 {
		got = append(got, pause(tries+1))
	}
	s := time.Second
	diff := cmp.Diff([]time.Duration{5 * s, 10 * s, 20 * s, 40 * s, 80 * s, 160 * s, 320 * s, 640 * s, 900 * s, 900 * s}, got)
	if diff != "" {
		t.Errorf("pauses differ (-want +got):\n%s", diff)
	}
}

// TestLoads_JudgeAnswersAsTheirProviders compares both tables of answers.
func TestLoads_JudgeAnswersAsTheirProviders(t *testing.T) {
	t.Parallel()
	for status, want := range map[int][2]verdict{ // of events, of a receipt
		200: {taken, taken}, 204: {taken, taken}, 205: {taken, taken}, 206: {taken, lost}, 299: {taken, lost},
		301: {again, lost}, 400: {again, lost}, 401: {again, lost}, 403: {again, lost}, 404: {again, lost}, 410: {again, lost},
		429: {again, again}, 500: {again, again}, 502: {again, again}, 503: {again, again}, 504: {again, again},
	} {
		got := [2]verdict{(&batch{}).taken(status), (&receipt{}).taken(status)}
		if got != want {
			t.Errorf("%d = %v, want %v", status, got, want)
		}
	}
}

// FuzzSignature proves that no change of a value keeps the signature, but for
// the two characters that the provider's scheme takes for a third.
func FuzzSignature(f *testing.F) {
	f.Add("status", "delivered", "failed")
	f.Add("to", "a&b=c", "a_b_c")
	f.Add("sig", "x", "y")
	f.Fuzz(func(t *testing.T, name, value, other string) {
		first, second := receiptVector(), receiptVector()
		first[name], second[name] = value, other
		alike := canonical(first) == canonical(second)
		for _, method := range SignatureMethods()[1:] {
			one, two := signature(method, "secret", first), signature(method, "secret", second)
			if (one == two) != alike || one == signature(method, "other", first) {
				t.Errorf("%s: %s and %s, alike %v", method, one, two, alike)
			}
		}
	})
}
