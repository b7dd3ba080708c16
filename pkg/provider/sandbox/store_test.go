package sandbox

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
)

func TestStore_ListsNewestFirstByAddress(t *testing.T) {
	t.Parallel()
	s := start(t)
	s.accept(t, "ada@example.net", "1")
	s.accept(t, "bob@example.net", "2")
	s.accept(t, "ada@example.net", "3")
	var got []string
	for _, m := range s.Messages("ada@example.net") {
		got = append(got, m.CustomArgs["dlv"])
	}
	if fmt.Sprint(got) != "[3 1]" || len(s.Messages("")) != 3 || len(s.Messages("ada")) != 0 {
		t.Errorf("messages to ada = %v, want the two newest first", got)
	}
}

func TestStore_KeepsTheNewestAndCountsAll(t *testing.T) {
	t.Parallel()
	s := newStore()
	for i := range maxMessages + 5 {
		s.add([]Message{{ID: fmt.Sprint(i)}})
	}
	kept := s.list("")
	if len(kept) != maxMessages || kept[len(kept)-1].ID != "5" || s.counted("") != maxMessages+5 {
		t.Errorf("kept %d, oldest %s, counted %d", len(kept), kept[len(kept)-1].ID, s.counted(""))
	}
}

func TestStore_BoundsTheBytes(t *testing.T) {
	t.Parallel()
	s := newStore()
	half := strings.Repeat("x", maxBytes/2)
	s.add([]Message{{ID: "1", Text: half}, {ID: "2", Text: half}, {ID: "3", Text: half}})
	if kept := s.list(""); len(kept) != 2 || kept[1].ID != "2" {
		t.Errorf("kept %d messages, want the newest two", len(kept))
	}
	s.add([]Message{{ID: "4", Text: half + half + "x"}})
	if kept := s.list(""); len(kept) != 1 || kept[0].ID != "4" {
		t.Errorf("kept %d messages, want the newest, whatever its size", len(kept))
	}
}

func TestStore_CountsEveryReference(t *testing.T) {
	t.Parallel()
	s := start(t)
	s.accept(t, "ada@example.net", "c.1.a")
	s.accept(t, "ada@example.net", "c.1.a")
	s.accept(t, "ada@example.net", "c.1.b")
	seen := s.References()
	if len(seen) != 2 || seen["c.1.a"] != 2 || seen["c.1.b"] != 1 {
		t.Errorf("references = %v", seen)
	}
	seen["c.1.a"] = 9
	if s.References()["c.1.a"] != 2 {
		t.Error("the caller changed the count")
	}
}

func TestStore_BoundsTheReferences(t *testing.T) {
	t.Parallel()
	s := newStore()
	for i := range maxReferences + 1 {
		s.count(fmt.Sprint(i))
	}
	s.count("")
	if len(s.seen) != maxReferences || s.seen["0"] != 0 || s.seen["1"] != 1 {
		t.Errorf("%d references, want the newest %d", len(s.seen), maxReferences)
	}
}

func TestStore_WakesThoseWhoWait(t *testing.T) {
	t.Parallel()
	s := start(t)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	got := make(chan []Message, 1)
	go func() {
		list, err := s.Wait(ctx, "Ada@example.net", 2)
		if err != nil {
			t.Errorf("wait: %v", err)
		}
		got <- list
	}()
	s.accept(t, "ada@example.net", "1")
	s.accept(t, "bob@example.net", "2")
	s.accept(t, "ada@example.net", "3")
	if list := <-got; len(list) != 2 || list[0].CustomArgs["dlv"] != "3" {
		t.Errorf("waited for %d messages, want 2, newest first", len(list))
	}
}

func TestStore_WaitEndsWithItsContext(t *testing.T) {
	t.Parallel()
	s := New(Config{})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	list, err := s.Wait(ctx, "ada@example.net", 1)
	if !errors.Is(err, context.Canceled) || list != nil {
		t.Errorf("wait = %v, %v; want canceled", list, err)
	}
	if err != nil && strings.Contains(err.Error(), "ada") {
		t.Error("the error carries the address")
	}
}

func TestStore_ClearForgetsAll(t *testing.T) {
	t.Parallel()
	s := start(t)
	s.accept(t, "ada@example.net", "1")
	s.Clear()
	if len(s.Messages("")) != 0 || s.Count() != 0 || len(s.References()) != 0 {
		t.Error("something is left")
	}
	s.accept(t, "ada@example.net", "1")
	if s.Count() != 1 || s.References()["1"] != 1 {
		t.Error("it does not count after a clear")
	}
}
