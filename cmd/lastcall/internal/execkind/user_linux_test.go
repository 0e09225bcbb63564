package execkind

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/lastcall-go/lastcall/cmd/lastcall/internal/confine"
	"github.com/lastcall-go/lastcall/internal/execfile"
	"github.com/lastcall-go/lastcall/task"
)

// ofStranger creates a fixture that root owns, with a program that runs as the stranger.
func ofStranger(t *testing.T, script string) *fixture {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("programs of other users: run as root")
	}
	f := newFixture(t, script)
	dir, _ := forStranger(t)
	f.dir, f.kind.Dir = dir, dir
	f.temp = filepath.Join(filepath.Dir(dir), "temp")
	if err := errors.Join(os.Mkdir(f.temp, 0o711), os.Chmod(f.temp, 0o711)); err != nil {
		t.Fatal(err)
	}
	t.Setenv("TMPDIR", f.temp)
	f.kind.User = &confine.User{UID: stranger, GID: stranger}
	return f
}

func TestUser_AProgramRunsAsItsUserInADirectoryOfItsOwn(t *testing.T) {
	for _, shared := range []bool{true, false} {
		f := ofStranger(t, `
			exec 2>/dev/null # the shell says there that its sleep was terminated
			D=$(dirname "$LASTCALL_CHECKPOINT")
			echo "$(id -u) $(id -g) $(id -G), directory $(stat -c '%u %g %a' "$D"), temporary $(stat -c '%u %a' "$TMPDIR")"
			cat "$LASTCALL_PAYLOAD_FILE"; echo
			[ "$LASTCALL_RUN" = 2 ] && { cat "$LASTCALL_CHECKPOINT"; exit; }
			trap 'cut -d" " -f3 "$LASTCALL_STOP_FILE"; echo at 5 > "$LASTCALL_CHECKPOINT.new"; mv "$LASTCALL_CHECKPOINT.new" "$LASTCALL_CHECKPOINT"; exit 1' TERM
			while :; do sleep 0.02; done`)
		if !shared {
			f.isolation = confine.Possible()
		}
		f.kind.Timeout, f.kind.MaxAttempts = time.Second, 2
		id := f.enqueue(`{"a":1}`)
		f.serve(time.Minute)
		want(t, f.ends(id), task.StatusSucceeded, "", 1, 0, 0, "")
		line := fmt.Sprintf("%d %d %[1]d, directory %[1]d %[2]d 700, temporary %[1]d 700\n{\"a\":1}\n", stranger, stranger)
		if out := f.output(id); out != line+"timeout\n"+line+"at 5\n" {
			t.Errorf("shared %v: %s", shared, out)
		}
		f.stop()
	}
}

func TestUser_AProgramGainsNoPrivilegesAndReachesNothingOfRoots(t *testing.T) {
	for _, shared := range []bool{true, false} {
		f := ofStranger(t, `
			grep -E '^(NoNewPrivs|CapEff|CapPrm|CapInh|CapAmb)' /proc/self/status
			cat ../secret && echo read; kill -KILL $PPID && echo killed; kill -STOP $PPID && echo stopped
			./id -u`)
		secret, id := filepath.Join(f.dir, "..", "secret"), filepath.Join(f.dir, "id")
		binary, err := os.ReadFile("/usr/bin/id")
		if err != nil {
			t.Fatal(err)
		}
		// id is setuid root: everyone would be root with it, if new privileges were not refused.
		if err := errors.Join(os.WriteFile(secret, []byte("secret"), 0o600), execfile.Write(id, binary, 0o755), os.Chmod(id, 0o755|os.ModeSetuid)); err != nil {
			t.Fatal(err)
		}
		if !shared {
			f.isolation = confine.Possible()
		}
		task1 := f.enqueue("{}")
		f.serve(time.Minute)
		want(t, f.ends(task1), task.StatusSucceeded, "", 0, 0, 0, "")
		out := f.output(task1)
		for _, name := range []string{"CapEff", "CapPrm", "CapInh", "CapAmb"} {
			if !strings.Contains(out, name+":\t0000000000000000\n") {
				t.Errorf("%s: %s", name, out)
			}
		}
		if !strings.Contains(out, "NoNewPrivs:\t1\n") || !strings.Contains(out, fmt.Sprintf("\n%d\n", stranger)) || strings.Contains(out, "secret\n") ||
			strings.Contains(out, "\nread\n") || strings.Contains(out, "\nkilled\n") || strings.Contains(out, "\nstopped\n") {
			t.Errorf("shared %v: %s", shared, out)
		}
		f.stop()
	}
}

func TestUser_ATemporaryDirectoryThatTheUserCannotReachIsTold(t *testing.T) {
	f := ofStranger(t, "exit 0")
	if err := os.Chmod(f.temp, 0o700); err != nil {
		t.Fatal(err)
	}
	id := f.enqueue("{}")
	f.serve(time.Minute)
	want(t, f.released(id), task.StatusInterrupted, task.ReasonReleased, 0, 0, 0, fmt.Sprintf("user %d cannot reach its run's directory, since it may not enter %s: name another temporary directory in TMPDIR", stranger, f.temp))
	f.stop()
}

func TestUser_AProgramThatTheUserMayNotExecuteIsToldWithWhoThatIs(t *testing.T) {
	f := ofStranger(t, "")
	f.kind.Path = filepath.Join(f.dir, "program")
	if err := execfile.Write(f.kind.Path, []byte("#!/bin/sh\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	id := f.enqueue("{}")
	f.serve(time.Minute)
	want(t, f.released(id), task.StatusInterrupted, task.ReasonReleased, 0, 0, 0, fmt.Sprintf("permission denied: user %d must be able to execute it", stranger))
	f.stop()
}

// The server is root and reads files that the program leaves. It must not read for the program what
// the program itself is not allowed to read.
func TestUser_ACheckpointThatLeadsToAFileOfRootsIsNotRead(t *testing.T) {
	f := ofStranger(t, `
		case $LASTCALL_RUN in
		1) ln -s "$PWD/../secret" "$LASTCALL_CHECKPOINT";;
		2) ln -s /proc/self/environ "$LASTCALL_CHECKPOINT";;
		3) ln "$PWD/../secret" "$LASTCALL_CHECKPOINT" || :;;
		4) D=$(dirname "$LASTCALL_CHECKPOINT"); mv "$D" "$PWD/moved"; ln -s "$PWD/.." "$D"; ln -s "$PWD/../secret" "$PWD/moved/checkpoint";;
		esac
		exit 1`)
	if err := os.WriteFile(filepath.Join(f.dir, "..", "secret"), []byte("TOPSECRET"), 0o600); err != nil {
		t.Fatal(err)
	}
	f.kind.MaxAttempts = 4
	id := f.enqueue("{}")
	f.serve(time.Minute)
	if got := f.ends(id); got.Runs != 4 || len(got.Checkpoint) != 0 {
		t.Errorf("%d runs, checkpoint %q, error %s", got.Runs, got.Checkpoint, got.Error)
	}
	f.group.Stop(nil)
	f.group.Wait()
	f.group = nil
}
