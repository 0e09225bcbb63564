package rehearse

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"syscall"
)

// enterCommand is the name under which this process executes itself again to become a program.
const enterCommand = "lastcall-rehearse-enter"

// The file descriptors of a process that becomes a program.
const (
	saidFD   = 3
	ordersFD = 4
)

// entry is what a process that becomes a program is given.
type entry struct {
	Path      string // empty for a program to search for in the image
	Argv, Env []string
	Dir       string
	Image     *Image
	Owners    bool              // all of the image's users and groups exist
	Alongside int               // the process, as seen from outside, alongside which a command runs
	Hosts     map[string]string // this machine's files in /etc that resolve host names
}

// newEntry describes a container's program.
func newEntry(path string, c *Container) *entry {
	e := &entry{Path: path, Argv: c.Command, Env: c.environment(), Dir: c.Dir, Image: c.Image}
	if c.Image != nil {
		e.Owners = manyOwners()
		e.Hosts = map[string]string{}
		for _, name := range []string{"/etc/hosts", "/etc/resolv.conf"} {
			if text, err := os.ReadFile(name); err == nil {
				e.Hosts[name] = string(text)
			}
		}
	}
	return e
}

// init takes over a process that was executed under one of these names, before its main begins.
func init() { //nolint:gochecknoinits // a test binary that rehearses has no main that could call it
	switch os.Args[0] {
	case enterCommand:
		runtime.LockOSThread()
		said := os.NewFile(saidFD, "said")
		syscall.CloseOnExec(saidFD)
		syscall.CloseOnExec(ordersFD)
		fmt.Fprint(said, become())
		os.Exit(127)
	case joinFile:
		if len(os.Args) == 2 && os.Args[1] == joinCommand {
			runtime.LockOSThread()
			fmt.Fprintln(os.Stderr, joined())
			os.Exit(127)
		}
	}
}

// become executes the program, or returns why it could not.
func become() error {
	orders := os.NewFile(ordersFD, "orders")
	defer runtime.KeepAlive(orders) // its number is waited on, and must not be closed and reused
	var e entry
	if err := json.NewDecoder(orders).Decode(&e); err != nil {
		return fmt.Errorf("%swhat to start: %w", namespaceWord, err)
	}
	enter := enterNamespace
	if e.Image != nil {
		enter = e.enterImage
	}
	if err := enter(); err != nil {
		return err
	}
	if err := unwanted(); err != nil {
		return err
	}
	if e.Image != nil {
		if err := errors.Join(onlyStandard(), e.find()); err != nil {
			return err
		}
	}
	return e.execute()
}

// execute replaces this process by the program.
func (e *entry) execute() error {
	err := syscall.Exec(e.Path, e.Argv, e.Env)
	if _, missing := os.Stat(e.Path); errors.Is(err, fs.ErrNotExist) && missing == nil {
		return fmt.Errorf("%w: the file is there, and what it needs is not: the interpreter of its first line, or the loader of its libraries", err)
	}
	return err
}

// unwanted returns an error if the parent of this process is gone. When a process changes its user,
// the kernel drops the signal that it would get at its parent's death.
func unwanted() error {
	if err := prctl(prSetPdeathsig, uintptr(syscall.SIGKILL)); err != nil {
		return fmt.Errorf("%send with the parent process: %w", namespaceWord, err)
	}
	if err := syscall.SetNonblock(ordersFD, true); err != nil {
		return fmt.Errorf("%swhether the rehearsal goes on: %w", namespaceWord, err)
	}
	for {
		n, err := syscall.Read(ordersFD, make([]byte, 1))
		switch {
		case errors.Is(err, syscall.EINTR):
		case errors.Is(err, syscall.EAGAIN):
			return nil
		case err != nil || n == 0:
			return errors.New("the parent process is gone")
		}
	}
}

// onlyStandard marks every open file but standard input, output and error to be closed on exec. A
// file that the caller has left open could lead out of the image.
func onlyStandard() error {
	dir, err := os.Open("/proc/self/fd")
	if err != nil {
		return err
	}
	defer dir.Close()
	names, err := dir.Readdirnames(-1)
	if err != nil {
		return err
	}
	for _, name := range names {
		fd, err := strconv.Atoi(name)
		if err != nil {
			return err
		}
		if fd > syscall.Stderr {
			syscall.CloseOnExec(fd)
		}
	}
	return nil
}

// find searches the image's PATH for the program.
func (e *entry) find() error {
	for _, pair := range e.Env {
		if path, ok := cutName(pair, "PATH"); ok {
			if err := os.Setenv("PATH", path); err != nil {
				return err
			}
		}
	}
	path, err := exec.LookPath(e.Argv[0])
	if err != nil {
		return fmt.Errorf("in the image: %w", err)
	}
	e.Path = path
	return nil
}

// Constants of the kernel that package syscall does not have.
const (
	prSetPdeathsig    = 1
	prSetDumpable     = 4
	prCapBSetDrop     = 24
	prSetNoNewPrivs   = 38
	prCapAmbient      = 47
	prCapAmbientClear = 4
)

// prctl changes this thread.
func prctl(option, value uintptr) error {
	if _, _, errno := syscall.RawSyscall6(syscall.SYS_PRCTL, option, value, 0, 0, 0, 0); errno != 0 {
		return errno
	}
	return nil
}

// enterNamespace mounts a /proc for the namespace, and drops the rights that this needed.
func enterNamespace() error {
	if os.Getpid() != 1 {
		return fmt.Errorf("%sthis is process %d of its PID namespace, not the first one", namespaceWord, os.Getpid())
	}
	if err := syscall.Mount("", "/", "", syscall.MS_REC|syscall.MS_SLAVE, ""); err != nil {
		return fmt.Errorf("%smounts of its own: %w", namespaceWord, err)
	}
	if err := mountProc(); err != nil {
		return err
	}
	// Without ambient capabilities a program that is not root's has none after exec.
	if err := prctl(prCapAmbient, prCapAmbientClear); err != nil {
		return fmt.Errorf("%sgive up capabilities: %w", namespaceWord, err)
	}
	return nil
}

func mountProc() error {
	if err := syscall.Mount("proc", "/proc", "proc", syscall.MS_NOSUID|syscall.MS_NODEV|syscall.MS_NOEXEC, ""); err != nil {
		return fmt.Errorf("%smount a /proc of its own: %w", namespaceWord, err)
	}
	return nil
}
