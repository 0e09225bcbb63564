package test

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/lastcall-go/lastcall/internal/execfile"
)

// stranger is an unprivileged user id that no system has in use.
const stranger = 23456

// asStranger returns a command of the program. If this process is root, the command runs as the
// stranger, in a directory of the stranger's. Otherwise it runs as the current user, who is not
// root.
func asStranger(t *testing.T, dir string, args ...string) *exec.Cmd {
	t.Helper()
	cmd := exec.Command(program(t), args...)
	if os.Geteuid() != 0 {
		return cmd
	}
	binary, err := os.ReadFile(program(t)) // others cannot enter its directory
	if err != nil {
		t.Fatal(err)
	}
	above, err := os.MkdirTemp("/tmp", "lastcall-stranger-") //nolint:usetesting // the stranger must be able to get there
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(above); err != nil {
			t.Error(err)
		}
	})
	cmd.Path = filepath.Join(above, "lastcall")
	if err := errors.Join(execfile.Write(cmd.Path, binary, 0o755), os.Chmod(cmd.Path, 0o755), os.Chmod(above, 0o755)); err != nil {
		t.Fatal(err)
	}
	for path := dir; path != "/tmp" && path != "/"; path = filepath.Dir(path) {
		if err := os.Chmod(path, 0o755); err != nil { // the directory belongs to this test alone
			t.Fatal(err)
		}
	}
	files, err := filepath.Glob(filepath.Join(dir, "*"))
	for _, path := range append(files, dir) {
		err = errors.Join(err, os.Chown(path, stranger, stranger))
	}
	if err != nil {
		t.Fatal(err)
	}
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: stranger, Gid: stranger}}
	return cmd
}

func TestExec_TheServersSecretsAreKeptFromAProgramOfTheSameUser(t *testing.T) {
	for _, hostPID := range []bool{false, true} {
		// Try to read the environment of every visible process.
		w := newWorkshop(t, map[string]string{"nosy": `
			for p in /proc/[0-9]*; do tr '\0' '\n' < $p/environ; ls -l $p/fd; done 2>/dev/null
			echo looked everywhere`}, fmt.Sprintf("    hostPid: %v\n", hostPID))
		t.Setenv("PGPASSWORD", "very-secret")
		t.Setenv("TMPDIR", "/tmp")
		s := launch(t, asStranger(t, w.dir, serveArgs(w.store, "--config", w.config)...))
		id := submitTo(s, "nosy", "{}")
		s.reaches(id, "succeeded")
		stop(s)
		if log := w.log(id); strings.Contains(log, "very-secret") || strings.Contains(log, "tasks.db") || !strings.Contains(log, "looked everywhere") {
			t.Errorf("hostPID %v: %s", hostPID, log)
		}
	}
}

func TestExec_ServerAndDoctorSayWhetherProgramsHavePIDNamespacesAndThatIsSo(t *testing.T) {
	t.Parallel()
	w := newWorkshop(t, map[string]string{"parent": `echo parent $PPID`, "host": `echo parent $PPID`}, "")
	s := w.start()
	id := submitTo(s, "parent", "{}")
	s.reaches(id, "succeeded")
	stop(s)
	isolated := w.log(id) == "parent 1\n"
	said := map[bool][2]string{
		true:  {`msg="programs have PID namespaces of their own"`, "those of kinds would have PID namespaces"},
		false: {`msg="programs share this process's PID namespace"`, "those of kinds would share the PID namespace"},
	}[isolated]
	if !strings.Contains(s.text(), said[0]) {
		t.Errorf("isolated %v: %s", isolated, s.text())
	}
	if out := command(t, "doctor", "--store", w.store); !bytes.Contains(out, []byte("ok    programs  "+said[1])) {
		t.Errorf("isolated %v: %s", isolated, out)
	}
}

func TestExec_LimitsThatCannotBeHeldStartNoServer(t *testing.T) {
	t.Parallel()
	w := newWorkshop(t, map[string]string{"big": "exit 0"}, "    limits: {memory: 64Mi}\n")
	cmd := asStranger(t, w.dir, serveArgs(w.store, "--config", w.config)...)
	cmd.Env = append(os.Environ(), "TMPDIR=/tmp")
	out, err := cmd.CombinedOutput()
	if cmd.ProcessState.ExitCode() != 1 || !bytes.Contains(out, []byte("lastcall: limits of kinds: ")) || !bytes.Contains(out, []byte("or take the limits out")) {
		t.Errorf("%v\n%s", err, out)
	}
}

func TestExec_AKindOfAnotherUserNeedsAServerOfRoots(t *testing.T) {
	t.Parallel()
	w := newWorkshop(t, map[string]string{"other": "id -u"}, "    user: \"23456:23456\"\n")
	cmd := asStranger(t, w.dir, "config", "check", w.config)
	out, err := cmd.CombinedOutput()
	want := w.config + ":5: kind other: user: only root can run a program as another user, and this is user "
	if cmd.ProcessState.ExitCode() != 1 || !bytes.Contains(out, []byte(want)) {
		t.Errorf("%v, want %s\n%s", err, want, out)
	}
}
