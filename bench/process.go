package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"

	"github.com/lastcall-go/lastcall"
	"github.com/lastcall-go/lastcall/task"
)

// workerVariable makes this program act as a worker. Its value has three fields separated by
// spaces: the part it plays, a number and the address of the store.
const workerVariable = "LASTCALL_BENCH_WORKER"

// The parts that this program can play as a worker.
const (
	handingOver = "handover"
	resuming    = "resume"
)

var parts = map[string]func(g *lastcall.Group, store task.Store, n int) error{
	handingOver: serveHandover,
	resuming:    serveResumed,
	scheduling:  serveSchedules,
}

// beWorker serves tasks if this process was started as a worker.
func beWorker() {
	words := strings.SplitN(os.Getenv(workerVariable), " ", 3)
	if len(words) < 3 {
		return
	}
	serve := parts[words[0]]
	os.Exit(lastcall.Main(lastcall.Config{Delay: -1, Logger: quiet}, func(_ context.Context, g *lastcall.Group) error {
		n, err := strconv.Atoi(words[1])
		if err != nil {
			return err
		}
		store, err := openAddress(words[2])
		if err != nil {
			return err
		}
		g.Defer("store", lastcall.CloseFunc(store.Close))
		return serve(g, store, n)
	}))
}

// process is this program running as a worker.
type process struct {
	cmd *exec.Cmd
	out io.Reader
}

func startProcess(part, address string, n int) (*process, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	cmd := exec.Command(self)
	cmd.Env = append(os.Environ(), fmt.Sprintf("%s=%s %d %s", workerVariable, part, n, address))
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	return &process{cmd: cmd, out: out}, cmd.Start()
}

// startReady starts a worker of tasks that hand over, and waits until it is ready.
func startReady(address string) (*process, error) {
	p, err := startProcess(handingOver, address, 0)
	if err != nil {
		return nil, err
	}
	if err := p.await("ready"); err != nil {
		p.end()
		return nil, err
	}
	return p, nil
}

// await waits until the process prints a line.
func (p *process) await(line string) error {
	got, err := bufio.NewReader(p.out).ReadString('\n')
	if err == nil && strings.TrimSpace(got) != line {
		err = fmt.Errorf("it printed %q", got)
	}
	if err != nil {
		return fmt.Errorf("the worker's process is not %s: %w", line, err)
	}
	return nil
}

// end kills the process if it is still running, and waits for it.
func (p *process) end() {
	_ = p.cmd.Process.Kill()
	_ = p.cmd.Wait()
}
