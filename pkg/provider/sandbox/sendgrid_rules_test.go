package sandbox

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// people makes n different recipients.
func people(n int) []any {
	list := make([]any, n)
	for i := range list {
		list[i] = object{"email": fmt.Sprintf("u%d@example.net", i)}
	}
	return list
}

// words makes n different short texts.
func words(n int) []any {
	list := make([]any, n)
	for i := range list {
		list[i] = fmt.Sprint("w", i)
	}
	return list
}

// first is the first personalization of a request.
func first(m object) object { return m["personalizations"].([]any)[0].(object) }

func TestSendGrid_RefusesByField(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("x", 256)
	late := noon().Add(maxSchedule).Unix() + 1
	for name, row := range map[string]struct {
		change func(m object)
		fields []string // of the refusals, in order; none when it is accepted
		text   string   // part of the first one's message
	}{
		"smallest":            {func(object) {}, nil, ""},
		"no personalizations": {func(m object) { delete(m, "personalizations") }, []string{"personalizations"}, "at least one"},
		"too many personalizations": {func(m object) {
			list := make([]any, 1001)
			for i := range list {
				list[i] = object{"to": people(1)}
			}
			m["personalizations"] = list
		}, []string{"personalizations", "personalizations"}, "1000 personalization"},
		"1000 recipients":     {func(m object) { first(m)["to"], first(m)["cc"] = people(1), people(1000)[1:] }, nil, ""},
		"1001 recipients":     {func(m object) { first(m)["to"], first(m)["bcc"] = people(1), people(1001)[1:] }, []string{"personalizations"}, "1000 total recipients"},
		"no to":               {func(m object) { delete(first(m), "to") }, []string{"personalizations.0.to"}, toRequired},
		"null to":             {func(m object) { first(m)["to"] = nil }, []string{"personalizations.0.to"}, toRequired},
		"empty to":            {func(m object) { first(m)["to"] = []any{} }, []string{"personalizations.0.to"}, toRequired},
		"bad to":              {func(m object) { first(m)["to"] = []any{object{"email": "ada"}} }, []string{"personalizations.0.to.0.email"}, invalidAddress},
		"empty address":       {func(m object) { first(m)["to"] = []any{object{}} }, []string{"personalizations.0.to.0.email"}, invalidAddress},
		"display name in to":  {func(m object) { first(m)["to"] = []any{object{"email": "Ada <ada@example.net>"}} }, []string{"personalizations.0.to.0.email"}, invalidAddress},
		"long local part":     {func(m object) { first(m)["to"] = []any{object{"email": long[:65] + "@example.net"}} }, []string{"personalizations.0.to.0.email"}, invalidAddress},
		"long address":        {func(m object) { first(m)["to"] = []any{object{"email": "a@" + long + ".net"}} }, []string{"personalizations.0.to.0.email"}, invalidAddress},
		"bad cc":              {func(m object) { first(m)["cc"] = []any{object{"email": "@"}} }, []string{"personalizations.0.cc.0.email"}, invalidAddress},
		"bad bcc":             {func(m object) { first(m)["bcc"] = []any{object{"email": "a@b@c"}} }, []string{"personalizations.0.bcc.0.email"}, invalidAddress},
		"comma in name":       {func(m object) { first(m)["to"] = []any{object{"email": "a@example.net", "name": "L, A"}} }, []string{"personalizations.0.to.0.name"}, "comma"},
		"semicolon in name":   {func(m object) { first(m)["cc"] = []any{object{"email": "a@example.net", "name": "L;A"}} }, []string{"personalizations.0.cc.0.name"}, "semicolon"},
		"duplicate":           {func(m object) { first(m)["cc"] = []any{object{"email": "ADA@example.net"}} }, []string{"personalizations.0"}, "[ADA@example.net] in the personalizations.0.cc field"},
		"same in another":     {func(m object) { m["personalizations"] = []any{first(m), first(m)} }, nil, ""},
		"no from":             {func(m object) { delete(m, "from") }, []string{"from.email"}, "The from object must be provided"},
		"empty from":          {func(m object) { m["from"] = object{"name": "N"} }, []string{"from.email"}, "The from object must be provided"},
		"bad from":            {func(m object) { m["from"] = object{"email": "login"} }, []string{"from.email"}, "valid address"},
		"unicode from":        {func(m object) { m["from"] = object{"email": "ü@example.com", "name": "Zoë"} }, []string{"from.email", "from.name"}, "valid address"},
		"bad own from":        {func(m object) { first(m)["from"] = object{"email": "x"} }, []string{"personalizations.0.from.email"}, "valid address"},
		"no subject":          {func(m object) { delete(m, "subject") }, []string{"subject"}, subjectMissing},
		"every own subject":   {func(m object) { delete(m, "subject"); first(m)["subject"] = "Own" }, nil, ""},
		"no content":          {func(m object) { delete(m, "content") }, []string{"content"}, contentMissing},
		"template":            {func(m object) { delete(m, "content"); delete(m, "subject"); m["template_id"] = "d-1" }, nil, ""},
		"empty content":       {func(m object) { m["content"] = []any{object{}} }, []string{"content.0.type", "content.0.value"}, "content type"},
		"empty value":         {func(m object) { m["content"] = []any{object{"type": "text/plain", "value": ""}} }, []string{"content.0.value"}, "at least one character"},
		"html first":          {func(m object) { m["content"] = []any{part("text/html"), part("text/plain")} }, []string{"content"}, "must be first"},
		"other type first":    {func(m object) { m["content"] = []any{part("text/calendar"), part("text/html")} }, []string{"content"}, "must be first"},
		"plain twice":         {func(m object) { m["content"] = []any{part("text/plain"), part("text/plain")} }, []string{"content"}, "once"},
		"three in order":      {func(m object) { m["content"] = []any{part("text/plain"), part("text/html"), part("text/calendar")} }, nil, ""},
		"attachment without":  {func(m object) { m["attachments"] = []any{object{"type": "text/plain"}} }, []string{"attachments.0"}, "filename"},
		"reserved header":     {func(m object) { m["headers"] = object{"X-SG-EID": "1"} }, []string{"headers"}, "reserved"},
		"own reserved header": {func(m object) { first(m)["headers"] = object{"Reply-To": "1"} }, []string{"personalizations.0.headers"}, "reserved"},
		"large custom args":   {func(m object) { m["custom_args"] = object{"a": strings.Repeat("x", 9_999)} }, []string{"personalizations.0.custom_args"}, "10000"},
		"custom args below":   {func(m object) { m["custom_args"] = object{"a": strings.Repeat("x", 9_998)} }, nil, ""},
		"custom args together": {func(m object) {
			m["custom_args"] = object{"a": strings.Repeat("x", 5_000)}
			first(m)["custom_args"] = object{"b": strings.Repeat("x", 5_000)}
		}, []string{"personalizations.0.custom_args"}, "10000"},
		"large substitutions":   {func(m object) { first(m)["substitutions"] = object{"a": strings.Repeat("x", 10_000)} }, []string{"personalizations.0.substitutions"}, "10000"},
		"dynamic substitutions": {func(m object) { m["template_id"] = "d-1"; first(m)["substitutions"] = object{"a": "b"} }, []string{"personalizations.0.substitutions"}, "dynamic"},
		"dynamic data": {func(m object) {
			m["template_id"] = "d-1"
			first(m)["dynamic_template_data"] = object{"a": []any{1, object{"b": nil}}}
		}, nil, ""},
		"eleven categories":    {func(m object) { m["categories"] = words(11) }, []string{"categories"}, "10 categories"},
		"long category":        {func(m object) { m["categories"] = []any{long} }, []string{"categories.0"}, "255"},
		"unicode category":     {func(m object) { m["categories"] = []any{"ok", "é"} }, []string{"categories.1"}, "ASCII"},
		"category twice":       {func(m object) { m["categories"] = []any{"otp", "otp"} }, []string{"categories.1"}, "unique"},
		"own category twice":   {func(m object) { first(m)["categories"] = []any{"otp", "otp"} }, []string{"personalizations.0.categories.1"}, "unique"},
		"in 72 hours":          {func(m object) { m["send_at"] = late - 1 }, nil, ""},
		"later than 72 hours":  {func(m object) { m["send_at"] = late }, []string{"send_at"}, tooFarAhead},
		"own too late":         {func(m object) { first(m)["send_at"] = late }, []string{"personalizations.0.send_at"}, tooFarAhead},
		"reply to twice":       {func(m object) { m["reply_to"] = object{"email": "a@example.com"}; m["reply_to_list"] = people(1) }, []string{"reply_to"}, "Only one"},
		"bad reply to":         {func(m object) { m["reply_to"] = object{"email": "a"} }, []string{"reply_to.email"}, "valid address"},
		"bad reply to in list": {func(m object) { m["reply_to_list"] = []any{object{"email": "a"}} }, []string{"reply_to_list.0.email"}, invalidAddress},
		"1001 reply to":        {func(m object) { m["reply_to_list"] = people(1001) }, []string{"reply_to_list"}, "1000"},
		"short pool":           {func(m object) { m["ip_pool_name"] = "p" }, []string{"ip_pool_name"}, "2 to 64"},
		"long pool":            {func(m object) { m["ip_pool_name"] = long[:65] }, []string{"ip_pool_name"}, "2 to 64"},
		"many groups":          {func(m object) { m["asm"] = object{"group_id": 1, "groups_to_display": make([]int, 26)} }, []string{"asm.groups_to_display"}, "25"},
		"combined bypass": {func(m object) {
			m["mail_settings"] = object{"bypass_list_management": object{"enable": true}, "bypass_spam_management": object{"enable": true}}
		}, []string{"mail_settings.bypass_list_management"}, "combined"},
		"all at once":            {func(m object) { clear(m) }, []string{"personalizations", "from.email", "subject", "content"}, "personalization"},
		"two wrong recipients":   {func(m object) { first(m)["to"] = []any{object{"email": "a"}, object{"email": "b"}} }, []string{"personalizations.0.to.0.email", "personalizations.0.to.1.email"}, ""},
		"wrong in the second":    {func(m object) { m["personalizations"] = []any{first(m), object{"to": []any{object{"email": "a"}}}} }, []string{"personalizations.1.to.0.email"}, ""},
		"every tracking setting": {func(m object) { m["tracking_settings"] = tracking() }, nil, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := start(t)
			body := plain()
			row.change(body)
			got, text := s.post(t, encoded(t, body), nil)
			if len(row.fields) == 0 {
				if got.StatusCode != http.StatusAccepted {
					t.Errorf("answer = %d %s, want 202", got.StatusCode, text)
				}
				return
			}
			checkRefusal(t, got.StatusCode, text, row.fields, row.text)
			if s.Count() != 0 {
				t.Error("a refused mail was stored")
			}
		})
	}
}

func part(media string) object { return object{"type": media, "value": "v"} }

func tracking() object {
	return object{
		"click_tracking": object{"enable": false, "enable_text": false}, "open_tracking": object{"enable": false, "substitution_tag": "t"},
		"subscription_tracking": object{"enable": false, "text": "t", "html": "h", "substitution_tag": "s"},
		"ganalytics":            object{"enable": false, "utm_source": "s", "utm_medium": "m", "utm_term": "t", "utm_content": "c", "utm_campaign": "c"},
	}
}

// checkRefusal compares the fields of a 400, and looks for a text in its first message.
func checkRefusal(t *testing.T, status int, body string, fields []string, text string) {
	t.Helper()
	var list struct{ Errors []refusal }
	err := json.Unmarshal([]byte(body), &list)
	if err != nil || status != http.StatusBadRequest || len(list.Errors) == 0 {
		t.Fatalf("answer = %d %s (%v), want 400 and a list", status, body, err)
	}
	var got []string
	for _, e := range list.Errors {
		if e.Field == nil || e.Help == nil || !strings.HasPrefix(*e.Help, helpPage) {
			t.Fatalf("%+v lacks field or help", e)
		}
		got = append(got, *e.Field)
	}
	diff := cmp.Diff(fields, got)
	if diff != "" {
		t.Errorf("fields differ (-want +got):\n%s", diff)
	}
	if !strings.Contains(list.Errors[0].Message, text) {
		t.Errorf("message = %q, want %q in it", list.Errors[0].Message, text)
	}
}
