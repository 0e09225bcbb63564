package proc

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"sync"
	"syscall"
	"time"
)

// Keeper waits for the orphans that a process gets as PID 1 or as a subreaper, and leaves alone the
// processes that were started through it. A process that starts others has one Keeper and starts
// them all through it: a child that the Keeper does not know is an orphan to it. The zero Keeper is
// ready.
type Keeper struct {
	mu   sync.Mutex
	mine map[int]bool
}

// Start is cmd.Start. Every command that it has started is to be waited for with Wait.
func (k *Keeper) Start(cmd *exec.Cmd) error {
	k.mu.Lock() // no orphan is looked for while a child is not yet known
	defer k.mu.Unlock()
	if err := cmd.Start(); err != nil {
		return err
	}
	if k.mine == nil {
		k.mine = make(map[int]bool)
	}
	k.mine[cmd.Process.Pid] = true
	return nil
}

// Wait is cmd.Wait.
func (k *Keeper) Wait(cmd *exec.Cmd) error {
	err := cmd.Wait()
	k.mu.Lock()
	defer k.mu.Unlock()
	delete(k.mine, cmd.Process.Pid)
	return err
}

// Run reaps orphans until ctx ends. It looks when a child has ended, a few times a second at most.
func (k *Keeper) Run(ctx context.Context) error {
	died := make(chan os.Signal, 1)
	signal.Notify(died, syscall.SIGCHLD)
	defer signal.Stop(died)
	for {
		if err := k.reap(); err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return nil
		case <-died:
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// reap takes the orphans that have ended.
func (k *Keeper) reap() error {
	k.mu.Lock()
	defer k.mu.Unlock()
	all, err := list()
	if err != nil {
		return err
	}
	_, _ = k.reapAmong(all)
	return nil
}

// reapAmong takes the orphans in a list that have ended, and returns the others, and how many orphans
// there were. The caller has the lock: no process is started meanwhile, and the number of none of
// them can become another's.
func (k *Keeper) reapAmong(all []Process) (alive []Process, n int) {
	for _, p := range all {
		if p.Parent != os.Getpid() || k.mine[p.PID] {
			continue
		}
		n++
		if !p.Zombie() {
			alive = append(alive, p)
			continue
		}
		var status syscall.WaitStatus
		_, _ = syscall.Wait4(p.PID, &status, syscall.WNOHANG, nil) // reaped already
	}
	return alive, n
}

// KillOrphans kills every child that was not started here, with its descendants, until none is left
// or ctx ends. It is for the case that a process died which was to do it.
func (k *Keeper) KillOrphans(ctx context.Context) error {
	for pause := time.Millisecond; ; pause = min(2*pause, 50*time.Millisecond) {
		left, err := k.killRound()
		if err != nil || left == 0 {
			return err
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%d orphans are left: %w", left, context.Cause(ctx))
		case <-time.After(pause):
		}
	}
}

// killRound kills the orphans that there are now, and says how many those were, dead ones too: what
// they left may not be in the list.
func (k *Keeper) killRound() (int, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	all, err := list()
	if err != nil {
		return 0, err
	}
	alive, n := k.reapAmong(all)
	for _, o := range alive {
		for _, p := range append(below(all, o.PID), o) {
			if !p.Zombie() {
				_ = p.Signal(syscall.SIGKILL) // gone, or found again in the next round
			}
		}
	}
	return n, nil
}
