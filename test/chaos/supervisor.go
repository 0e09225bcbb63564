//go:build linux

package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/lastcall-go/lastcall/internal/proc"
	"github.com/lastcall-go/lastcall/test/chaos/server"
)

// insideVariable makes the program a run inside of its supervisor.
const insideVariable = "CHAOS_INSIDE"

// inside is what the supervisor passes to a run in addition to the command line.
type inside struct{ Scratch, Dir, Schedule string }

func readInside(text string) (in inside, err error) {
	if err := json.Unmarshal([]byte(text), &in); err != nil {
		return in, fmt.Errorf("%s is the supervisor's, leave it alone: %w", insideVariable, err)
	}
	return in, nil
}

// supervisor starts runs as child processes and removes what they leave, however they end. It is a
// subreaper, so it gets their orphans, and it knows the directories of a run. When the supervisor
// dies, the run gets a signal and removes everything itself. When both die, the processes of the
// run die with it.
type supervisor struct {
	args     []string
	out      io.Writer
	keeper   proc.Keeper
	launcher *launcher
	signals  chan os.Signal
	stopped  bool // a stop was requested
}

// supervise executes the runs that the command line asks for.
func supervise(opt options, args []string, out io.Writer) (code int, err error) {
	if err := proc.BecomeSubreaper(); err != nil {
		return codeFailed, err
	}
	// All runs get a seed, even if none was given.
	args = append(slices.Clone(args), "-seed", fmt.Sprint(opt.seed))
	s := &supervisor{args: args, out: out, launcher: newLauncher(), signals: make(chan os.Signal, 2)}
	defer s.launcher.close()
	signal.Notify(s.signals, syscall.SIGINT, syscall.SIGTERM)
	defer signal.Stop(s.signals)
	code, err = s.repeat(opt)
	if code == codeBroken && opt.shrink > 0 && err == nil {
		err = s.shrink(opt)
	}
	return code, err
}

// repeat runs as often as requested with the same faults, and reports how often a rule was broken.
func (s *supervisor) repeat(opt options) (code int, err error) {
	broken := 0
	schedule := opt.schedule
	for n := range opt.again {
		dir := opt.dir
		if opt.again > 1 {
			dir = filepath.Join(opt.dir, fmt.Sprintf("run-%d", n+1))
		}
		code, err = s.run(dir, schedule, s.out)
		if err != nil || s.stopped || code != codeKept && code != codeBroken {
			return code, err
		}
		if code == codeBroken {
			broken++
		}
		schedule = filepath.Join(dir, "schedule.json")
	}
	if opt.again > 1 {
		fmt.Fprintf(s.out, "\nin %d of %d runs with these faults a rule was broken\n", broken, opt.again)
	}
	if broken > 0 {
		return codeBroken, nil
	}
	return codeKept, nil
}

// run executes one run in a child, and cleans up after it.
func (s *supervisor) run(dir, schedule string, out io.Writer) (code int, err error) {
	scratch, err := os.MkdirTemp("/tmp", scratchPrefix) // the path of a socket must be short
	if err != nil {
		return codeFailed, err
	}
	defer func() { err = errors.Join(err, s.clean(scratch)) }()
	if err := os.Chmod(scratch, 0o755); err != nil { // a database runs as another user
		return codeFailed, err
	}
	text, err := json.Marshal(inside{Scratch: scratch, Dir: dir, Schedule: schedule})
	if err != nil {
		return codeFailed, err
	}
	self, err := os.Executable()
	if err != nil {
		return codeFailed, err
	}
	cmd := exec.CommandContext(context.Background(), self, s.args...) // ended below
	cmd.Env = append(os.Environ(), insideVariable+"="+string(text))
	cmd.Stdout, cmd.Stderr = out, os.Stderr
	// Only this process passes a terminal's signals on.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := s.launcher.startBy(s.keeper.Start, cmd, syscall.SIGTERM); err != nil {
		return codeFailed, err
	}
	ended := make(chan error, 1)
	go func() { ended <- s.keeper.Wait(cmd) }()
	for {
		select {
		case err = <-ended:
			return judgeExit(cmd.ProcessState, err)
		case <-s.signals:
			if s.stopped { // the second time, it does not wait for anything
				_ = cmd.Process.Kill() // it may have ended
			}
			s.stopped = true
			_ = cmd.Process.Signal(syscall.SIGTERM) // it may have ended
		}
	}
}

// judgeExit distinguishes a run that was completed from one that was not.
func judgeExit(state *os.ProcessState, err error) (int, error) {
	code := state.ExitCode()
	if code < 0 || code > codeFailed {
		return codeFailed, fmt.Errorf("the run did not come to its end: %w", err)
	}
	return code, nil
}

// clean removes what a run has left, processes first.
func (s *supervisor) clean(scratch string) error {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	return errors.Join(s.keeper.KillOrphans(ctx), clean(scratch))
}

const scratchPrefix = "chaos-"

// clean ends the processes that are identified by the run's socket, and removes mounts, cgroups and
// files of the run. It may be called again.
func clean(scratch string) error {
	if !strings.HasPrefix(filepath.Base(scratch), scratchPrefix) {
		return fmt.Errorf("%s is no directory of a run", scratch)
	}
	for range 100 {
		left := marked((&run{scratch: scratch}).mark())
		if len(left) == 0 {
			break
		}
		// None can start another one in between.
		for _, sig := range []syscall.Signal{syscall.SIGSTOP, syscall.SIGKILL} {
			for _, pid := range left {
				_ = syscall.Kill(pid, sig) // it may have ended
			}
		}
		time.Sleep(20 * time.Millisecond)
	}
	return errors.Join(removeCgroups(filepath.Base(scratch)), server.Remove(scratch))
}

// untilParentEnds returns the context of a run. It ends when the supervisor requests that, or has
// died.
func untilParentEnds() (context.Context, context.CancelFunc) {
	signal.Notify(make(chan os.Signal, 1), syscall.SIGPIPE) // the reader of the output may die first
	return signal.NotifyContext(context.Background(), syscall.SIGTERM)
}
