package execkind

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/lastcall-go/lastcall/internal/execfile"
)

// nosyCommand makes the test binary a program that tries to get at other processes.
const nosyCommand = "nosy"

// stranger is the id of a user without rights, whom no system knows.
const stranger = 23456

// beNosy tries to read and trace each process of the arguments and to steal a descriptor from it,
// and prints what succeeded.
func beNosy() {
	for _, arg := range os.Args[2:] {
		pid, err := strconv.Atoi(arg)
		if err != nil {
			panic(err)
		}
		for name, try := range map[string]func(int) error{
			"environ": func(pid int) error { return readable(pid, "environ") },
			"mem":     func(pid int) error { return readable(pid, "mem") },
			"fd":      func(pid int) error { _, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", pid)); return err },
			"trace": func(pid int) error {
				if err := syscall.PtraceAttach(pid); err != nil {
					return err
				}
				return syscall.PtraceDetach(pid)
			},
			"descriptor": stealDescriptor,
		} {
			if err := try(pid); err == nil {
				fmt.Printf("got %s of %d\n", name, pid)
			} else if !errors.Is(err, syscall.EPERM) && !errors.Is(err, syscall.EACCES) {
				fmt.Printf("%s of %d: %v\n", name, pid, err)
			}
		}
	}
	fmt.Println("tried all")
}

func readable(pid int, name string) error {
	f, err := os.Open(fmt.Sprintf("/proc/%d/%s", pid, name))
	if err != nil {
		return err
	}
	return f.Close()
}

// stealDescriptor takes the standard error of a process.
func stealDescriptor(pid int) error {
	fd, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		return err
	}
	stolen, err := unix.PidfdGetfd(fd, 2, 0)
	if err != nil {
		return err
	}
	return errors.Join(unix.Close(stolen), unix.Close(fd))
}

// asStranger runs the test again in a process of a user without rights. It reports whether this
// process, which is root's, has nothing left to do.
func asStranger(t *testing.T) bool {
	t.Helper()
	if os.Geteuid() != 0 {
		return false
	}
	dir, binary := forStranger(t)
	cmd := exec.CommandContext(t.Context(), binary, "-test.run=^"+t.Name()+"$", "-test.v")
	cmd.Env = append(os.Environ(), "TMPDIR="+dir, "HOME="+dir)
	cmd.Dir = dir
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: stranger, Gid: stranger}}
	out, err := cmd.CombinedOutput()
	switch {
	case err == nil && strings.Contains(string(out), "--- SKIP: "+t.Name()):
		t.Skipf("as a user without rights:\n%s", out)
	case err != nil || !strings.Contains(string(out), "--- PASS: "+t.Name()):
		t.Errorf("as user %d: %v\n%s", stranger, err, out)
	}
	return true
}

// forStranger creates a directory that belongs to the stranger, and puts this program where the
// stranger can execute it.
func forStranger(t *testing.T) (dir, binary string) {
	t.Helper()
	above, err := os.MkdirTemp("/tmp", "lastcall-stranger-") //nolint:usetesting // the stranger must be able to enter it
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(above); err != nil {
			t.Error(err)
		}
	})
	self, err := os.ReadFile("/proc/self/exe")
	if err != nil {
		t.Fatal(err)
	}
	dir, binary = filepath.Join(above, "own"), filepath.Join(above, "program")
	if err := errors.Join(os.Chmod(above, 0o755), os.Mkdir(dir, 0o700), os.Chown(dir, stranger, stranger),
		execfile.Write(binary, self, 0o755), os.Chmod(binary, 0o755)); err != nil {
		t.Fatal(err)
	}
	return dir, binary
}
