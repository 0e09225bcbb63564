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

// scratchVariable tells the process that runs the tests where its directory is.
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

// inside runs the tests. Its standard input ends with the supervisor: then it does what that one
// can do no more.
func inside(m *testing.M) int {
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin) // however it ends
		_ = sweep(scratch())
		os.Exit(1)
	}()
	go watchLag()
	return pgtest.Main(m)
}

// supervise runs the tests in a child, and leaves nothing of them behind: every descendant that the
// child loses is this process's, which is their subreaper.
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
		first := killCages(dir) // their limits hold until nothing is left in them
		err = errors.Join(err, first, keeper.KillOrphans(ctx), sweep(dir))
	}()
	if err := os.Chmod(dir, 0o711); err != nil { //nolint:gosec // other users find their directories in it
		return 1, err
	}
	cmd := exec.CommandContext(context.Background(), os.Args[0], os.Args[1:]...)
	cmd.Env = append(os.Environ(), scratchVariable+"="+dir, "TMPDIR="+dir)
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true} // a terminal's signals come from here alone
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
				_ = cmd.Process.Signal(s) // ended
			case <-ended:
				return
			}
		}
	})
	_ = keeper.Wait(cmd) // the state tells
	close(ended)
	relay.Wait()
	if code := cmd.ProcessState.ExitCode(); code >= 0 {
		return code, nil
	}
	return 1, fmt.Errorf("the process with the tests: %v", cmd.ProcessState)
}

const scratchPrefix = "attack-"

// sweep kills what is in the cages of a run, and removes these and the run's directory.
func sweep(dir string) error {
	if !strings.HasPrefix(filepath.Base(dir), scratchPrefix) {
		return fmt.Errorf("%s is no directory of a run", dir)
	}
	err := killCages(dir)
	// rm, since a hostile program may have made directories deeper than there are descriptors.
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

// lag is the longest time that starting a process has taken lately: what the machine, and not the
// program, adds to whatever is measured.
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

// within says by when something has to be that takes a time on a machine with nothing else to do.
func within(d time.Duration) time.Time {
	lag.Lock()
	defer lag.Unlock()
	return time.Now().Add(d + min(5*lag.longest, 20*time.Second))
}

// poll asks again and again, and returns false when nothing has come of it by a time.
func poll(by time.Time, ok func() bool) bool {
	for !ok() {
		if time.Now().After(by) {
			return false
		}
		time.Sleep(10 * time.Millisecond)
	}
	return true
}

// until waits for something that is no part of an attack.
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
