package execkind

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"testing"
	"time"

	"github.com/lastcall-go/lastcall"
	"github.com/lastcall-go/lastcall/task"
)

func TestStopFile_HasDeadlineSecondsAndReason(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	s, err := newScratch([]byte("{}"), nil)
	if err != nil {
		t.Fatal(err)
	}
	n := notice{folder: s.folder}
	for _, c := range []struct {
		left    time.Duration
		limited bool
		want    string
	}{
		{9500 * time.Millisecond, true, `^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z 9\.500 stop\n$`},
		{0, false, `^- - stop\n$`},
	} {
		if err := <-n.post(stopLine(c.left, c.limited, "stop")); err != nil {
			t.Fatal(err)
		}
		b, err := os.ReadFile(s.path(stopName))
		if err != nil || !regexp.MustCompile(c.want).Match(b) {
			t.Errorf("%q, %v; want %s", b, err, c.want)
		}
	}
	n.Wait()
	if err := s.remove(); err != nil {
		t.Error(err)
	}
}

func TestStopFile_TheReasonOfAStopIsOneWord(t *testing.T) {
	for want, cause := range map[string]error{
		"stop": &lastcall.InterruptError{}, "timeout": task.ErrTimeout, "cancelled": fmt.Errorf("x: %w", task.ErrCancelled),
		"requested": task.ErrInterruptRequested, "lost": task.ErrLeaseLost, "turn": task.ErrTurn,
	} {
		if got := whyStopped(cause); got != want {
			t.Errorf("%v: %q, want %q", cause, got, want)
		}
	}
}

func TestScratch_ATemporaryDirectoryThatIsNotWritableIsToldWithWhatToDo(t *testing.T) {
	t.Setenv("TMPDIR", filepath.Join(t.TempDir(), "missing"))
	if _, err := newScratch(nil, nil); err == nil || !regexp.MustCompile("name another one in TMPDIR").MatchString(err.Error()) {
		t.Errorf("%v", err)
	}
}
