package task_test

import (
	"strings"
	"testing"

	"github.com/lastcall-go/lastcall/task"
)

func TestStatus_EveryStatusHasAName(t *testing.T) {
	for _, s := range task.Statuses() {
		if got, err := task.ParseStatus(string(s)); err != nil || got != s || s.Ended() && s.Claimable() {
			t.Errorf("%s: %s, %v", s, got, err)
		}
	}
	if _, err := task.ParseStatus("done"); err == nil || !strings.Contains(err.Error(), "interrupted") {
		t.Errorf("%v", err)
	}
}
