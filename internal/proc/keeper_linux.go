package proc

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"slices"
	"sync"
	"syscall"
	"time"
)

// Keeper reaps the orphans that a process gets as PID 1 or as a subreaper. It does not reap the
// processes that were started through it. A process must have only one Keeper and start all its
// children through it: the Keeper treats a child that it does not know as an orphan. The zero
// Keeper is ready to use.
type Keeper struct {
	mu   sync.Mutex
	mine map[int]*exec.Cmd
}

// Start calls cmd.Start. The caller must wait for every command that it has started with Wait.
func (k *Keeper) Start(cmd *exec.Cmd) error {
	k.mu.Lock() // nothing is reaped while a child is started but not yet in mine
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

// Wait calls cmd.Wait.
func (k *Keeper) Wait(cmd *exec.Cmd) error {
	err := cmd.Wait()
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.mine[cmd.Process.Pid] == cmd { // not a newer command with the same PID
		delete(k.mine, cmd.Process.Pid)
	}
	return err
}

// Run reaps orphans until ctx ends. It looks for them when a child has ended, at most ten times a
// second.
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

// reap reaps the orphans that have ended.
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

// reapAmong reaps the orphans in a list that have ended. It returns the others, and how many
// orphans there were. The caller holds the lock, so no process is started through the Keeper
// meanwhile, and none of their PIDs can become that of one.
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

// KillOrphans kills every child that was not started through the Keeper, with its descendants,
// until none is left or ctx ends. Call it after the death of a process that should have killed its
// tree.
func (k *Keeper) KillOrphans(ctx context.Context) error { return k.KillTree(ctx, nil) }

// KillTree does the same as KillOrphans, and also kills a command that was started through the
// Keeper, with its descendants, even if it is stopped. The caller must still wait for the command.
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

// killRound kills the processes that exist now and returns how many roots of trees there were. Dead
// orphans count too: processes that they left behind may not be in the list.
func (k *Keeper) killRound(h *hunt, cmd *exec.Cmd) (int, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	mine := cmd != nil && k.mine[cmd.Process.Pid] == cmd // else its PID may belong to another process
	all, err := Descendants(os.Getpid())
	roots, n := k.reapAmong(all)
	if err == nil && n == 0 { // Descendants may miss the children of a process that ends meanwhile
		all, err = list()
		roots, n = k.reapAmong(all)
	}
	if err != nil {
		if mine {
			err = errors.Join(err, cmd.Process.Kill())
		}
		return 0, err
	}
	var found []Process
	if mine {
		if found = alive(all, cmd.Process.Pid); len(found) > 0 {
			n++
		}
	}
	for _, root := range roots {
		found = append(append(found, below(all, root.PID)...), root)
	}
	h.kill(found)
	return n, nil
}

// alive returns the processes of a tree that are no zombies, those below the root first. A list is
// read one process after the other: a process whose parent has died since may still name it, and
// the parent is a zombie in the same list.
func alive(all []Process, root int) []Process {
	tree := below(all, root)
	if i := slices.IndexFunc(all, func(p Process) bool { return p.PID == root }); i >= 0 {
		tree = append(tree, all[i])
	}
	return slices.DeleteFunc(tree, Process.Zombie)
}
