package test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// A program that existed when the configuration was checked may be gone when a task needs it.
func TestExec_AProgramThatIsGoneWhenATaskNeedsItPausesItsKindWithTheReason(t *testing.T) {
	t.Parallel()
	w := newWorkshop(t, map[string]string{"gone": "exit 0", "mode": "exit 0", "interpreter": "exit 0", "nothing": "exit 0", "fine": "exit 0"}, "    retry: {maxAttempts: 1}\n")
	s := w.start()
	if err := os.Remove(filepath.Join(w.dir, "gone.sh")); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(filepath.Join(w.dir, "mode.sh"), 0o600); err != nil {
		t.Fatal(err)
	}
	w.write("interpreter.sh", "#!/no/such/thing\n", 0o700)
	w.write("nothing.sh", "no program\n", 0o700)
	for kind, want := range map[string]string{
		"gone":        "gone.sh: no such file or directory: look at exec and dir of kind gone",
		"mode":        "mode.sh: permission denied: it is not executable: chmod +x it",
		"interpreter": `its first line names the interpreter "/no/such/thing", which is not there: install it, or change the line`,
		"nothing":     "exec format error: it is no program of this machine, and no script, which begins with a line such as #!/bin/sh",
	} {
		r := s.reaches(submitTo(s, kind, "{}"), "interrupted", "failed", "succeeded")
		if r.Status != "interrupted" || r.Reason != "released" || r.Attempts+r.Interruptions+r.Crashes != 0 || !strings.Contains(r.Error, "cannot be started") || !strings.Contains(r.Error, want) {
			t.Errorf("%s: %+v, want %q", kind, r, want)
		}
	}
	s.reaches(submitTo(s, "fine", "{}"), "succeeded")
	stop(s)
}

func TestExec_ACheckpointOfMoreThanAMiBIsToldAndTheOneBeforeStays(t *testing.T) {
	t.Parallel()
	w := newWorkshop(t, map[string]string{"save": `
		if [ "$LASTCALL_RUN" = 1 ]; then printf '{"at":7}' > "$LASTCALL_CHECKPOINT"; exit 3; fi
		head -c 1048577 /dev/zero > "$LASTCALL_CHECKPOINT"; exit 3`}, "    retry: {maxAttempts: 2, backoff: 10ms}\n")
	s := w.start()
	r := s.reaches(submitTo(s, "save", "{}"), "failed")
	const want = "the checkpoint has 1048577 bytes, at most 1048576 are kept"
	if r.Runs != 2 || r.Checkpoint.At != 7 || !strings.Contains(r.Error, "exit code 3; "+want) {
		t.Errorf("%+v", r)
	}
	if log := w.log(r.ID); !strings.Contains(log, "checkpoint not kept: "+want) {
		t.Errorf("the log is %q", log)
	}
	stop(s)
}
