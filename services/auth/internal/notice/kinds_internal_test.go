package notice

import (
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"doorcode/pkg/bus"
	"doorcode/pkg/event"
	"doorcode/pkg/message"
)

// What the consumer hands out and the table does not know would be a dead letter; what the table knows and the consumer
// does not hand out would be told to nobody.
func TestKinds_AreWhatTheConsumerHandsOut(t *testing.T) {
	t.Parallel()
	var subjects []string
	for typ, k := range (&Teller{}).kinds() {
		subject, err := event.SubjectOf(typ, "")
		if err != nil {
			t.Fatal(err)
		}
		subjects = append(subjects, subject)
		_, written := message.FormOf(k.name)
		if !slices.Contains(event.NoticeKinds(), k.name) || !written || k.tell == nil {
			t.Errorf("%s is told as %s", typ, k.name)
		}
	}
	slices.Sort(subjects)
	handed := slices.Sorted(slices.Values(slices.Concat(bus.NoticeSubjects(), bus.NoticeOutcomes())))
	if diff := cmp.Diff(handed, subjects); diff != "" {
		t.Errorf("subjects (-consumer +table):\n%s", diff)
	}
}
