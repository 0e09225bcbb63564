package proc

import (
	"context"
	"errors"
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
	mine map[int]*exec.Cmd
}

// Start is cmd.Start. Every command that it has started is to be waited for with Wait.
func (k *Keeper) Start(cmd *exec.Cmd) error {
	k.mu.Lock() // no orphan is looked for while a child is not yet known
	defer k.mu.Unlock()
	if err := cmd.Start(); err != nil {
		return err
	}
	if k.mine == nil {
		k.mine = make(map[int]*exec.Cmd)
	}
	k.mine[cmd.Process.Pid] = cmd
	return nil
}

// Wait is cmd.Wait.
func (k *Keeper) Wait(cmd *exec.Cmd) error {
	err := cmd.Wait()
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.mine[cmd.Process.Pid] == cmd { // and not one that has got its number since
		delete(k.mine, cmd.Process.Pid)
	}
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

// reapAmong takes the orphans in a list that have ended, and returns the others, and how many
// orphans there were. The caller has the lock: no process is started meanwhile, and the number of
// none of them can become another's.
func (k *Keeper) reapAmong(all []Process) (alive []Process, n int) {
	for _, p := range all {
		if p.Parent != os.Getpid() || k.mine[p.PID] != nil {
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
func (k *Keeper) KillOrphans(ctx context.Context) error { return k.KillTree(ctx, nil) }

// KillTree is KillOrphans, and kills a command that was started here with its descendants, too,
// whatever state it is in. The command itself is then still to be waited for.
func (k *Keeper) KillTree(ctx context.Context, cmd *exec.Cmd) error {
	for h := new(hunt); ; {
		left, err := k.killRound(h, cmd)
		if err != nil || left == 0 {
			return err
		}
		if !h.rest(ctx, nil) {
			return fmt.Errorf("%d processes could not be killed: %w", left, context.Cause(ctx))
		}
	}
}

// killRound kills what there is now, and says how many those were, dead orphans too: what they left
// may not be in the list.
func (k *Keeper) killRound(h *hunt, cmd *exec.Cmd) (int, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	mine := cmd != nil && k.mine[cmd.Process.Pid] == cmd // its number is not another's
	all, err := Descendants(os.Getpid())
	roots, n := k.reapAmong(all)
	if err == nil && n == 0 { // the children of a process that ends meanwhile can be missing there
		all, err = list()
		roots, n = k.reapAmong(all)
	}
	if err != nil {
		if mine {
			err = errors.Join(err, cmd.Process.Kill())
		}
		return 0, err
	}
	for _, p := range all {
		if mine && p.PID == cmd.Process.Pid && !p.Zombie() {
			roots, n = append(roots, p), n+1
		}
	}
	var found []Process
	for _, root := range roots {
		found = append(append(found, below(all, root.PID)...), root)
	}
	h.kill(found)
	return n, nil
}
