//go:build linux

package attack

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/lastcall-go/lastcall/internal/pgtest"
	"github.com/lastcall-go/lastcall/internal/proc"
)

// patience bounds every wait for something that will happen.
const patience = time.Minute

var hostileTime = flag.Duration("hostile", 0, "how long hostile programs are mixed (default 3s, with the long tests 10s)")

// scratchVariable passes the directory of the run to the process that runs the tests.
const scratchVariable = "LASTCALL_ATTACK_SCRATCH"

func scratch() string { return os.Getenv(scratchVariable) }

func TestMain(m *testing.M) {
	switch {
	case os.Getenv(cageVariable) != "":
		fmt.Fprintln(os.Stderr, "attack:", enterCage(os.Getenv(cageVariable)))
		os.Exit(1)
	case scratch() != "":
		os.Exit(inside(m))
	}
	code, err := supervise()
	if err != nil {
		fmt.Fprintln(os.Stderr, "attack:", err)
		code = max(code, 1)
	}
	os.Exit(code)
}

// inside runs the tests. Its standard input ends when the supervisor does; then inside does the
// clean-up that the supervisor can no longer do.
func inside(m *testing.M) int {
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin) // however it ends
		_ = sweep(scratch())
		os.Exit(1)
	}()
	go watchLag()
	return pgtest.Main(m)
}

// supervise runs the tests in a child, and leaves nothing of them behind. It is a subreaper, so
// every descendant that the child loses becomes a child of this process.
func supervise() (code int, err error) {
	if err := proc.BecomeSubreaper(); err != nil {
		return 1, err
	}
	dir, err := os.MkdirTemp("/tmp", scratchPrefix) // the path of a socket must be short
	if err != nil {
		return 1, err
	}
	var keeper proc.Keeper
	defer func() {
		ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
		defer cancel()
		first := killCages(dir) // the limits of the cages hold until nothing is left in them
		err = errors.Join(err, first, keeper.KillOrphans(ctx), sweep(dir))
	}()
	if err := os.Chmod(dir, 0o711); err != nil { //nolint:gosec // other users find their directories in it
		return 1, err
	}
	cmd := exec.CommandContext(context.Background(), os.Args[0], os.Args[1:]...)
	cmd.Env = append(os.Environ(), scratchVariable+"="+dir, "TMPDIR="+dir)
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	// Only this process passes a terminal's signals on.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if _, err := cmd.StdinPipe(); err != nil {
		return 1, err
	}
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM, syscall.SIGQUIT)
	if err := keeper.Start(cmd); err != nil {
		return 1, err
	}
	ended := make(chan struct{})
	var relay sync.WaitGroup
	relay.Go(func() {
		for {
			select {
			case s := <-signals:
				_ = cmd.Process.Signal(s) // it may have ended
			case <-ended:
				return
			}
		}
	})
	_ = keeper.Wait(cmd) // ProcessState has the outcome
	close(ended)
	relay.Wait()
	if code := cmd.ProcessState.ExitCode(); code >= 0 {
		return code, nil
	}
	return 1, fmt.Errorf("the process with the tests: %v", cmd.ProcessState)
}

const scratchPrefix = "attack-"

// sweep kills the processes in the cages of a run, and removes the cages and the run's directory.
func sweep(dir string) error {
	if !strings.HasPrefix(filepath.Base(dir), scratchPrefix) {
		return fmt.Errorf("%s is no directory of a run", dir)
	}
	err := killCages(dir)
	// Use rm: a hostile program may have created directories deeper than the number of descriptors.
	out, rmErr := exec.CommandContext(context.Background(), "rm", "-rf", dir).CombinedOutput()
	if rmErr != nil {
		rmErr = fmt.Errorf("rm -rf %s: %w\n%s", dir, rmErr, out)
	}
	return errors.Join(err, removeCages(dir), rmErr)
}

var built sync.Map // package directory -> func() (string, error)

// build builds a program once, and returns its path.
func build(t *testing.T, dir string, env ...string) string {
	t.Helper()
	once, _ := built.LoadOrStore(dir, sync.OnceValues(func() (string, error) {
		path := filepath.Join(scratch(), "bin-"+filepath.Base(dir))
		cmd := exec.CommandContext(context.Background(), "go", "build", "-trimpath", "-o", path, ".")
		cmd.Dir, cmd.Env = dir, append(os.Environ(), env...)
		out, err := cmd.CombinedOutput()
		if err != nil {
			return "", fmt.Errorf("go build: %w\n%s", err, out)
		}
		return path, os.Chmod(path, 0o755) //nolint:gosec // a program for other users
	}))
	path, err := once.(func() (string, error))()
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// lag is the longest time that starting a process has taken recently: the delay that the machine,
// not the program, adds to everything that is measured.
var lag struct {
	sync.Mutex
	longest time.Duration
}

func watchLag() {
	for {
		began := time.Now()
		_ = exec.CommandContext(context.Background(), "true").Run() // only its time counts
		took := time.Since(began)
		lag.Lock()
		lag.longest = max(took, lag.longest*9/10)
		lag.Unlock()
		time.Sleep(100 * time.Millisecond)
	}
}

// within returns the deadline for something that takes d on an idle machine.
func within(d time.Duration) time.Time {
	lag.Lock()
	defer lag.Unlock()
	return time.Now().Add(d + min(5*lag.longest, 20*time.Second))
}

// poll calls ok again and again, and returns false if it was not true by the deadline.
func poll(by time.Time, ok func() bool) bool {
	for !ok() {
		if time.Now().After(by) {
			return false
		}
		time.Sleep(10 * time.Millisecond)
	}
	return true
}

// until waits for a condition that is not part of an attack.
func until(t *testing.T, what string, ok func() bool) {
	t.Helper()
	if !poll(time.Now().Add(patience), ok) {
		t.Fatalf("not %s after %v", what, patience)
	}
}

func put(t *testing.T, file, text string, mode os.FileMode) {
	t.Helper()
	if err := os.WriteFile(file, []byte(text), mode); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(file, mode); err != nil { // whatever the umask
		t.Fatal(err)
	}
}

func read(t *testing.T, file string) string {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}
