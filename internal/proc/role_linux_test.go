package proc

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// roleVariable makes the test binary play a role, in a process of its own: a Tree waits for every
// child of its process, so it cannot run in the process of the tests.
const roleVariable = "LASTCALL_PROC_ROLE"

// patience bounds every wait for something that will happen.
const patience = 30 * time.Second

func TestMain(m *testing.M) {
	switch role := os.Getenv(roleVariable); role {
	case "":
		os.Exit(m.Run())
	case "tree":
		playTree()
	case "keeper":
		playKeeper()
	case "list":
		_, err := Children(os.Getpid())
		fmt.Println("said:", err)
	default:
		panic(role)
	}
}

// playTree runs the shell script of the first argument as a tree and obeys the commands on standard
// input.
func playTree() {
	t, err := Start("/bin/sh", []string{"sh", "-c", os.Args[1]},
		os.ProcAttr{Env: []string{"PATH=" + os.Getenv("PATH")}, Files: []*os.File{nil, os.Stdout, os.Stderr}})
	if err != nil {
		panic(err)
	}
	fmt.Println("started", t.PID())
	told := make(chan struct{})
	go func() {
		<-t.Exited()
		e := t.Exit()
		fmt.Println("exited", e.Code, int(e.Signal), e.Killed)
		close(told)
	}()
	go func() {
		commands := bufio.NewScanner(os.Stdin)
		for commands.Scan() {
			switch commands.Text() {
			case "term":
				err = t.Signal(syscall.SIGTERM)
			case "kill":
				err = t.Kill()
			}
			fmt.Println("did", commands.Text(), err)
		}
	}()
	<-t.Gone()
	<-told
	fmt.Println("gone")
}

// playKeeper starts programs while orphans appear and end.
func playKeeper() {
	if err := BecomeSubreaper(); err != nil {
		panic(err)
	}
	var k Keeper
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- k.Run(ctx) }()
	wrong := 0
	for i := range 50 {
		code := i % 7
		// Two orphans, one of which ends before the program's exit code is read.
		cmd := exec.CommandContext(ctx, "/bin/sh", "-c", fmt.Sprintf("(sh -c 'exit 9' & sleep 1000 &) ; exit %d", code))
		if err := k.Start(cmd); err != nil {
			panic(err)
		}
		if i%10 == 0 {
			time.Sleep(150 * time.Millisecond) // the child is a zombie while orphans are reaped
		}
		if _ = k.Wait(cmd); cmd.ProcessState.ExitCode() != code {
			wrong++
		}
	}
	fmt.Println("wrong", wrong)
	fmt.Println("killed:", k.KillOrphans(ctx))
	left, err := Children(os.Getpid())
	fmt.Println("left", len(left), err)
	cancel()
	fmt.Println("ran:", <-ended)
}

// actor is a process of the test binary that plays a role.
type actor struct {
	t     *testing.T
	cmd   *exec.Cmd
	tells io.WriteCloser
	lines chan string
}

func play(t *testing.T, role, script string, attr *syscall.SysProcAttr) *actor {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	a := &actor{t: t, cmd: exec.CommandContext(t.Context(), self, script), lines: make(chan string, 100)}
	a.cmd.Env = append(os.Environ(), roleVariable+"="+role)
	a.cmd.Stderr = os.Stderr
	a.cmd.SysProcAttr = attr
	if a.tells, err = a.cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	out, err := a.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := a.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer close(a.lines)
		for s := bufio.NewScanner(out); s.Scan(); {
			a.lines <- s.Text()
		}
	}()
	t.Cleanup(func() {
		_ = a.cmd.Process.Kill() // ended, mostly
		<-done
		_ = a.cmd.Wait() // killed, perhaps
	})
	return a
}

// says waits for a line that begins with the text and returns the rest.
func (a *actor) says(begin string) string {
	a.t.Helper()
	late := time.After(patience)
	for {
		select {
		case line, ok := <-a.lines:
			if !ok {
				a.t.Fatalf("it ended without having said %q", begin)
			}
			if rest, ok := strings.CutPrefix(line, begin); ok {
				return strings.TrimSpace(rest)
			}
		case <-late:
			a.t.Fatalf("it did not say %q", begin)
		}
	}
}

func (a *actor) tell(command string) {
	a.t.Helper()
	if _, err := io.WriteString(a.tells, command+"\n"); err != nil {
		a.t.Fatal(err)
	}
}

// numbers waits until each name was printed with a process id, in any order.
func (a *actor) numbers(names ...string) map[string]int {
	a.t.Helper()
	all := make(map[string]int)
	for range names {
		line := a.says("")
		for !slices.ContainsFunc(names, func(n string) bool { return strings.HasPrefix(line, n+" ") }) {
			line = a.says("")
		}
		name, number, _ := strings.Cut(line, " ")
		pid, err := strconv.Atoi(number)
		if err != nil || !Alive(pid) {
			a.t.Fatalf("%q: %v, alive %v", line, err, Alive(pid))
		}
		all[name] = pid
	}
	return all
}
