package sandbox

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/vonage/vonage-go-sdk"
)

const otpText = "123456 is your Example code.\n\n@example.com #123456"

func TestPhone_ShowsAnSMSAsAThread(t *testing.T) {
	t.Parallel()
	s := start(t)
	s.accept(t, "ada@example.net", "c.1.a")
	first := s.texted(t, phoneNumber, "654321 is your Example code.", vonage.SMSOpts{})
	s.texted(t, "447911123499", "to another phone", vonage.SMSOpts{})
	last := s.texted(t, phoneNumber, otpText, vonage.SMSOpts{})
	_, text := s.page(t, "/", http.StatusOK)
	holds(t, text, "4 messages", "<title>SMS to &#43;447911123456 – Sandbox inbox</title>", `aria-label="The phone of &#43;447911123456"`,
		`<p class="bubble">`+otpText+`</p>`, "SMS to &#43;447911123456", `href="/messages/`+first+`">Open</a>`, "Monday, 2 March",
		`<span class="subject">123456 is your Example code. @example.com #123456</span>`)
	if strings.Count(text, `class="bubble"`) != 2 || strings.Count(text, `class="day"`) != 1 || strings.Contains(text, "<iframe") {
		t.Errorf("the phone does not show its two messages:\n%s", text)
	}
	if strings.Index(text, `<p class="bubble">654321`) > strings.Index(text, `<p class="bubble">123456`) {
		t.Error("the newest message is not the last")
	}
	_, text = s.page(t, "/messages/"+last+"?to=%2B"+phoneNumber, http.StatusOK)
	holds(t, text, `value="&#43;447911123456"`, "2 messages", `href="/messages/`+first+`?to=447911123456"`)
}

func TestPhone_EscapesAndEndsWithWhatIsOpen(t *testing.T) {
	t.Parallel()
	s := start(t)
	var ids []string
	for i := range maxBubbles + 5 {
		ids = append(ids, s.texted(t, phoneNumber, fmt.Sprintf("<script>%d</script>", i), vonage.SMSOpts{}))
	}
	_, text := s.page(t, "/messages/"+ids[2], http.StatusOK)
	lacks(t, text, "<script", "&lt;script&gt;3&lt;/script&gt;</p>")
	holds(t, text, "&lt;script&gt;2&lt;/script&gt;</p>")
	if strings.Count(text, `class="bubble"`) != 3 {
		t.Error("the thread does not end with an old message that is open")
	}
	_, text = s.page(t, "/", http.StatusOK)
	if strings.Count(text, `class="bubble"`) != maxBubbles {
		t.Error("the thread is not bounded")
	}
}

func TestPhone_SetsDaysApart(t *testing.T) {
	t.Parallel()
	s := start(t)
	for i := range 3 {
		s.store.add([]Message{{ID: fmt.Sprint(i), Channel: "sms", To: phoneNumber, Text: "x", Parts: 1 + i, ReceivedAt: noon().Add(time.Duration(i) * 20 * time.Hour)}})
	}
	_, text := s.page(t, "/", http.StatusOK)
	holds(t, text, "Monday, 2 March<", "Tuesday, 3 March<", "Wednesday, 4 March<", "3, each is billed")
}

func TestControl_FindsANumberWithAndWithoutPlus(t *testing.T) {
	t.Parallel()
	s := start(t)
	id := s.texted(t, phoneNumber, otpText, vonage.SMSOpts{})
	s.texted(t, "447911123499", otpText, vonage.SMSOpts{})
	for _, to := range []string{"%2B447911123456", "+447911123456", "447911123456"} {
		_, text := s.do(t, http.MethodGet, "/api/messages?to="+to, nil, nil)
		var list []map[string]any
		err := json.Unmarshal([]byte(text), &list)
		if err != nil {
			t.Fatal(err)
		}
		diff := cmp.Diff([]map[string]any{{
			"id": id, "channel": "sms", "to": phoneNumber, "from": "ExampleCo", "subject": "", "text": otpText, "html": "",
			"parts": 1.0, "received_at": "2026-03-02T12:00:00Z",
		}}, list)
		if diff != "" {
			t.Errorf("%s differs (-want +got):\n%s", to, diff)
		}
	}
	if bare("+") != "+" || bare("") != "" || bare("+ada@example.net") != "+ada@example.net" {
		t.Error("an address lost its plus")
	}
}
