//go:build linux

package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"os/signal"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/lastcall-go/lastcall/test/chaos/history"
	"github.com/lastcall-go/lastcall/test/chaos/wire"
)

// program is a run of an exec kind: this process, as the real server has started it.
type program struct {
	conn  *wire.Conn
	plan  history.Plan
	nth   int   // the number of the task's run, from 1
	fence int64 // LASTCALL_FENCE
}

// errTold is returned when the program has received the order to end.
var errTold = errors.New("told to end")

// runProgram is the command "program".
func runProgram() int {
	p, err := startProgram()
	if err != nil {
		return exitCode(err)
	}
	return exitCode(errors.Join(p.work(context.Background()), p.conn.Close()))
}

// startProgram reads the input of the run.
func startProgram() (*program, error) {
	p := new(program)
	payload, err := os.ReadFile(os.Getenv("LASTCALL_PAYLOAD_FILE"))
	if err != nil {
		return nil, err
	}
	if err := json.Unmarshal(payload, &p.plan); err != nil {
		return nil, fmt.Errorf("payload: %w", err)
	}
	if p.fence, err = strconv.ParseInt(os.Getenv("LASTCALL_FENCE"), 10, 64); err != nil {
		return nil, fmt.Errorf("LASTCALL_FENCE: %w", err)
	}
	if p.nth, err = strconv.Atoi(os.Getenv("LASTCALL_RUN")); err != nil {
		return nil, fmt.Errorf("LASTCALL_RUN: %w", err)
	}
	if p.plan.UnresponsiveMS > 0 && p.nth == 1 {
		signal.Ignore(syscall.SIGTERM)
	}
	p.conn, err = wire.Dial(context.Background(), "program")
	return p, err
}

// work does the remaining steps.
func (p *program) work(ctx context.Context) error {
	at, err := p.load()
	if err != nil {
		return err
	}
	if err := p.report(ctx, history.Effect{Step: history.Begun, Resumed: at}); err != nil {
		return err
	}
	for range p.plan.Children {
		if err := leaveDaemon(p.plan.Hostile); err != nil {
			return err
		}
	}
	for line := range p.plan.Log {
		fmt.Printf("run %d, line %d\n", p.fence, line)
	}
	for first := at; at < p.plan.Steps; at++ {
		if p.plan.HandOver && told() {
			return errors.Join(p.save(at), p.report(ctx, history.Effect{Step: history.HandedOver, Resumed: at}), errTold)
		}
		if err := p.step(ctx, at, at == first); err != nil {
			return err
		}
	}
	return p.report(ctx, history.Effect{Step: history.Finished})
}

// step does one step, like the step of a handler.
func (p *program) step(ctx context.Context, at int, first bool) error {
	time.Sleep(time.Duration(p.plan.PaceMS) * time.Millisecond)
	if err := p.report(ctx, history.Effect{Step: at}); err != nil {
		return err
	}
	switch {
	case first && p.nth <= p.plan.Exit:
		return errors.Join(syscall.Kill(os.Getpid(), syscall.SIGKILL), errors.New("killed, and still here"))
	case first && p.nth <= p.plan.Exit+p.plan.Fail:
		return fmt.Errorf("run %d of task %d fails, as planned", p.nth, p.plan.Seq)
	}
	if p.plan.Progress {
		fmt.Printf("::progress %.3f step %d\n", float64(at+1)/float64(p.plan.Steps), at)
	}
	if p.plan.Save {
		return p.save(at + 1)
	}
	return nil
}

// told reports whether the program has received the order to end.
func told() bool {
	_, err := os.Stat(os.Getenv("LASTCALL_STOP_FILE"))
	return err == nil
}

// load reads the checkpoint of an earlier run. It returns 0 if there is none.
func (p *program) load() (int, error) {
	text, err := os.ReadFile(os.Getenv("LASTCALL_CHECKPOINT"))
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	return strconv.Atoi(strings.TrimSpace(string(text)))
}

// save writes a checkpoint atomically.
func (p *program) save(at int) error {
	path := os.Getenv("LASTCALL_CHECKPOINT")
	if err := os.WriteFile(path+".new", []byte(strconv.Itoa(at)), 0o600); err != nil {
		return err
	}
	return os.Rename(path+".new", path)
}

func (p *program) report(ctx context.Context, e history.Effect) error {
	e.Seq, e.TaskID, e.Fence = p.plan.Seq, os.Getenv("LASTCALL_TASK_ID"), p.fence
	return p.conn.Effect(ctx, e)
}

// The commands by which a program leaves a process behind, as a daemon does: a child in a session
// of its own starts a grandchild in another session, and ends.
const (
	daemonCommand     = "daemon"
	grandchildCommand = "grandchild"
	hostileCommand    = "hostile"
)

// leaveDaemon starts the child, and waits until it has ended.
func leaveDaemon(hostile bool) error {
	if !hostile {
		return inSession(daemonCommand).Run()
	}
	err := inSession(hostileCommand).Run()
	if exit := new(exec.ExitError); errors.As(err, &exit) && exit.ExitCode() != codeFailed {
		return nil // the limits leave no room for another one
	}
	return err
}

// forkAgain is the child. The grandchild keeps the program's output open, like a carelessly written
// daemon.
func forkAgain() error { return inSession(grandchildCommand).Start() }

func inSession(command string) *exec.Cmd {
	cmd := exec.Command("/proc/self/exe", command) //nolint:noctx // nobody ends it on purpose
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	return cmd
}

// outlive is the grandchild. Only SIGKILL ends it before its ten minutes are over.
func outlive() int {
	signal.Ignore(syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP)
	time.Sleep(10 * time.Minute)
	return 0
}
