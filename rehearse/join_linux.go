package rehearse

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

// A command alongside an image's program is this program again. nsenter runs it in the program's
// namespaces except that of mounts, which contains nothing of this machine. It enters that one
// itself, drops the rights that the program has dropped, and becomes the command.
const (
	joinCommand = "lastcall-rehearse-join"
	joinFile    = "/proc/self/fd/3"
)

// selfFile is this program's file, for processes that may not be able to find it by name.
var selfFile = sync.OnceValues(func() (*os.File, error) { return os.Open(self) })

// join returns a command in the namespaces of an image's program.
func (p *program) join(argv []string) (*exec.Cmd, error) {
	enter, err := exec.LookPath("nsenter")
	if err != nil {
		return nil, fmt.Errorf("a command runs in the program's namespaces by nsenter, which is in the package util-linux: %w", err)
	}
	c := *p.container
	c.Command = argv
	e := newEntry("", &c)
	e.Alongside = p.pid
	cmd := &exec.Cmd{
		Path: enter, Args: []string{enter, "--target", strconv.Itoa(p.pid), "--user", "--pid", "--uts", "--ipc"}, Dir: "/", Env: []string{},
		Stdout: alongside{&p.output}, Stderr: alongside{&p.output}, WaitDelay: time.Second, SysProcAttr: &syscall.SysProcAttr{Setsid: true},
	}
	if !e.Owners {
		cmd.Args = append(cmd.Args, "--preserve-credentials")
	}
	if !e.Owners && c.Image.User != 0 {
		// If the namespace has only one user, that user loses its rights at exec, so nsenter enters all
		// the others at once. No variable of the image may tell nsenter what to load, and no link in the
		// image may lead it there: its working directory is the program's.
		if err := onlyStandard(); err != nil {
			return nil, err
		}
		cmd.Args = append(cmd.Args, "--mount", "--wd=/proc/"+strconv.Itoa(p.pid)+"/cwd", "--")
		cmd.Args, cmd.Env = append(cmd.Args, argv...), withoutLoader(e.Env)
		return cmd, nil
	}
	file, err := selfFile()
	if err != nil {
		return nil, fmt.Errorf("a command alongside the program: %w", err)
	}
	if info, err := file.Stat(); err != nil {
		return nil, err
	} else if e.Owners && info.Mode()&1 == 0 {
		return nil, fmt.Errorf("a command alongside the program is started by this one: let all users execute %s (chmod o+x)", os.Args[0])
	}
	what, err := json.Marshal(e)
	if err != nil {
		return nil, err
	}
	cmd.Args = append(cmd.Args, "--", joinFile, joinCommand)
	cmd.Stdin, cmd.ExtraFiles = bytes.NewReader(what), []*os.File{file}
	return cmd, nil
}

// withoutLoader returns the variables that do not tell a loader or a C library what to load.
func withoutLoader(env []string) (kept []string) {
	for _, pair := range env {
		name, _, _ := strings.Cut(pair, "=")
		switch {
		case strings.HasPrefix(name, "LD_"), strings.HasPrefix(name, "MALLOC_"):
		case name == "GCONV_PATH", name == "LOCPATH", name == "NLSPATH", name == "GLIBC_TUNABLES":
		default:
			kept = append(kept, pair)
		}
	}
	return kept
}

// joined becomes the command, or returns why it could not.
func joined() error {
	// This process still sees this machine's files: the image's program must not look through it.
	if err := prctl(prSetDumpable, 0); err != nil {
		return err
	}
	syscall.CloseOnExec(saidFD)
	var e entry
	if err := json.NewDecoder(os.Stdin).Decode(&e); err != nil {
		return fmt.Errorf("what to start: %w", err)
	}
	if err := enterMounts(e.Alongside); err != nil {
		return fmt.Errorf("enter the program's mounts: %w", err)
	}
	null, err := syscall.Open("/dev/null", syscall.O_RDWR|syscall.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	if err := errors.Join(syscall.Dup3(null, 0, 0), e.workIn(), e.giveUp(), onlyStandard(), e.find()); err != nil {
		return err
	}
	return e.execute()
}

// setns is the number of a system call that package syscall does not have on every architecture.
var setns = map[string]uintptr{
	"386": 346, "amd64": 308, "arm": 375, "arm64": 268, "loong64": 268, "ppc64le": 350, "riscv64": 268, "s390x": 339,
}

// enterMounts moves this thread into the mount namespace of a process.
func enterMounts(pid int) error {
	number, ok := setns[runtime.GOARCH]
	if !ok {
		return fmt.Errorf("on %s: %w", runtime.GOARCH, errors.ErrUnsupported)
	}
	fd, err := syscall.Open("/proc/"+strconv.Itoa(pid)+"/ns/mnt", syscall.O_RDONLY|syscall.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	if err := syscall.Unshare(syscall.CLONE_FS); err != nil {
		return err
	}
	if _, _, errno := syscall.RawSyscall(number, uintptr(fd), syscall.CLONE_NEWNS, 0); errno != 0 {
		return errno
	}
	return syscall.Close(fd)
}
