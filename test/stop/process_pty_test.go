//go:build linux

package stop_test

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"github.com/lastcall-go/lastcall"
)

// openTerminal returns the two ends of a new pseudo-terminal: the one of the person who types, and
// the one of the programs.
func openTerminal(t *testing.T) (person, programs *os.File) {
	t.Helper()
	person, err := os.OpenFile("/dev/ptmx", os.O_RDWR|syscall.O_NOCTTY, 0)
	if err != nil {
		t.Skipf("pseudo-terminals: mount devpts (%v)", err)
	}
	t.Cleanup(func() { person.Close() })
	var number, unlocked uint32
	ioctl(t, person, syscall.TIOCGPTN, &number)
	ioctl(t, person, syscall.TIOCSPTLCK, &unlocked)
	programs, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", number), os.O_RDWR|syscall.O_NOCTTY, 0)
	if err != nil {
		t.Skipf("pseudo-terminals: mount devpts (%v)", err)
	}
	return person, programs
}

func ioctl(t *testing.T, f *os.File, request uintptr, value *uint32) {
	t.Helper()
	raw, err := f.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	var errno syscall.Errno
	err = raw.Control(func(fd uintptr) {
		_, _, errno = syscall.Syscall(syscall.SYS_IOCTL, fd, request, uintptr(unsafe.Pointer(value)))
	})
	if err != nil || errno != 0 {
		t.Fatalf("ioctl %#x: %v %v", request, err, errno)
	}
}

// atTerminal makes a terminal the program's controlling terminal, and its stdin and stdout. The log
// still goes to the test.
func atTerminal(programs *os.File) func(*exec.Cmd) {
	return func(cmd *exec.Cmd) {
		cmd.Stdin, cmd.Stdout = programs, programs
		cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true, Ctty: 0}
	}
}

// watch copies what programs print at the terminal into the transcript.
func (p *process) watch(person, programs *os.File) {
	programs.Close()
	go func() { _, _ = io.Copy(&p.out, person) }()
}

func TestTerminal_CtrlCAtATerminalDrainsTheServerBehindTee(t *testing.T) {
	t.Parallel()
	if os.Getenv(programVariable) != "" {
		piped(t, talker)
	}
	person, programs := openTerminal(t)
	p, code := piped(t, talker, atTerminal(programs))
	p.watch(person, programs)
	p.says("working")
	if _, err := person.WriteString("\x03"); err != nil {
		t.Fatal(err)
	}
	p.logs("met the closed pipe")
	p.logs("finished the work")
	if got := code(); got != "0" {
		t.Errorf("the server's exit code is %s, want 0", got)
	}
	p.reports("stopped by SIGINT")
}

func TestTerminal_AClosedTerminalIsASIGHUPThatDrains(t *testing.T) {
	t.Parallel()
	program := func() int {
		return waiter(1*time.Second, nothing)
	}
	if os.Getenv(programVariable) != "" {
		start(t, program)
	}
	person, programs := openTerminal(t)
	p := start(t, program, atTerminal(programs))
	p.watch(person, programs)
	p.says("working")
	person.Close()
	p.exits(0)
	p.reports("stopped by SIGHUP", "finished    go job")
}

func TestTerminal_CtrlCOnOnesOwnMachineIsQuickAlsoWhereOthersAreServed(t *testing.T) {
	t.Parallel()
	program := hello(":0", func(*lastcall.Config) {})
	if os.Getenv(programVariable) != "" {
		start(t, program)
	}
	person, programs := openTerminal(t)
	p := start(t, program, atTerminal(programs))
	p.watch(person, programs)
	p.says("addr ")
	began := time.Now()
	if _, err := person.WriteString("\x03"); err != nil {
		t.Fatal(err)
	}
	p.exits(0)
	if took := time.Since(began); took > 2*time.Second {
		t.Errorf("the stop took %v; the delay would be 3 s", took)
	}
}
