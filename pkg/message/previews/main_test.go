package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"doorcode/pkg/event"
	"doorcode/pkg/message"
)

func TestPreviews_ShowEveryMessageInEveryLanguage(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	var out bytes.Buffer
	if code := run([]string{"-dir", dir}, &out); code != 0 {
		t.Fatalf("ended with %d: %s", code, out.String())
	}
	index, err := os.ReadFile(filepath.Join(dir, "index.html"))
	if err != nil {
		t.Fatal(err)
	}
	wanted := []string{"code.html", "code.txt", "code-bare.html", "code-sms.txt", "code-sms-long.txt"}
	for _, kind := range event.NoticeKinds() {
		wanted = append(wanted, kind+".html", kind+".txt")
		form, _ := message.FormOf(kind)
		if form.Texted {
			wanted = append(wanted, kind+"-sms.txt")
		}
		if form.Owner {
			wanted = append(wanted, kind+"-owner.html", kind+"-owner.txt")
		}
	}
	for _, language := range message.Languages() {
		for _, name := range wanted {
			data, err := os.ReadFile(filepath.Join(dir, language, name))
			if err != nil || len(data) == 0 {
				t.Errorf("%s/%s is missing: %v", language, name, err)
			}
			if page := language + "/" + name; strings.HasSuffix(name, ".html") && !strings.Contains(string(index), page) {
				t.Errorf("the overview does not show %s", page)
			}
		}
	}
}

func TestPreviews_SayWhatWentWrong(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "file")
	err := os.WriteFile(file, nil, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{{"-dir", file}, {"-no"}} {
		var out bytes.Buffer
		if code := run(args, &out); code == 0 || out.Len() == 0 {
			t.Errorf("%v ended with %d and %q", args, code, out.String())
		}
	}
}
