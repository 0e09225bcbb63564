//go:build linux

package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"github.com/lastcall-go/lastcall/test/chaos/server"
	"github.com/lastcall-go/lastcall/test/chaos/wire"
)

// harnessVariable makes this test binary act as the command.
const harnessVariable = "CHAOS_TEST_HARNESS"

// programs is the directory for what the tests build.
var programs string

// commands starts the command, so that a run also ends when the tests are killed.
var commands *launcher

func TestMain(m *testing.M) {
	server.Help()
	switch {
	case os.Getenv(wire.EnvSocket) != "":
		os.Exit(fakeDriver(os.Args[1]))
	case os.Getenv(harnessVariable) != "":
		os.Exit(command(os.Args[1:], os.Stdout, os.Stderr))
	}
	var err error
	if programs, err = os.MkdirTemp("", "chaos"); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	commands = newLauncher()
	code := m.Run()
	commands.close()
	if err := os.RemoveAll(programs); err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

// harness returns the command with the driver of the tests.
func harness(t *testing.T, args ...string) (cmd *exec.Cmd, out *bytes.Buffer) {
	t.Helper()
	out = new(bytes.Buffer)
	cmd = exec.Command(os.Args[0], append([]string{"-driver", os.Args[0], "-dir", t.TempDir(), "-rate", "25", "-workers", "3", "-seed", "7"}, args...)...)
	cmd.Env = append(os.Environ(), harnessVariable+"=1", "GORACE=atexit_sleep_ms=0")
	cmd.Stdout, cmd.Stderr = out, out
	return cmd, out
}

// exitCode runs the command and returns its exit code and output.
func exitCode(t *testing.T, args ...string) (code int, out string) {
	t.Helper()
	cmd, text := harness(t, args...)
	err := commands.start(cmd, syscall.SIGTERM)
	if err == nil {
		err = cmd.Wait()
	}
	if exit := new(exec.ExitError); err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return cmd.ProcessState.ExitCode(), text.String()
}

func TestChaos_KeepsEveryRuleWithADriverThatIsRight(t *testing.T) {
	t.Parallel()
	code, out := exitCode(t, "-duration", "4s", "-faults", "kill,term,kill-node,kill-client")
	if code != codeKept || !strings.Contains(out, "every rule was kept") {
		t.Errorf("exit code %d:\n%s", code, out)
	}
}

func TestChaos_FindsADriverThatIsWrong(t *testing.T) {
	t.Parallel()
	code, out := exitCode(t, "-duration", "2s", "-faults", "kill", "-break", "ended")
	if code != codeBroken || !strings.Contains(out, "and is gone") || !strings.Contains(out, "-again 10") {
		t.Errorf("exit code %d:\n%s", code, out)
	}
}
