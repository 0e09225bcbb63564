//go:build unix

package rehearse

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"syscall"

	"github.com/lastcall-go/lastcall/internal/proc"
)

// Without a PID namespace, a separate process starts the program and kills what is left of it: on
// Linux everything that the program has started, since that process adopts the orphans, and
// elsewhere the program's process group. It reads orders, one a line, and reports what happens.
// When the orders end, for example because the sender has died, it kills everything.
const (
	sayStarted, sayFailed, sayExited = "started", "failed", "exited"
	orderSignal, orderKill           = "signal", "kill"
)

// superviseCommand is the name under which this process executes itself again to supervise a
// program.
const superviseCommand = "lastcall-rehearse-supervise"

// init takes over a process that was executed under that name, before its main begins.
func init() { //nolint:gochecknoinits // a test binary that rehearses has no main that could call it
	if os.Args[0] == superviseCommand && len(os.Args) > 2 {
		os.Exit(supervise(os.Args[1], os.Args[2:]))
	}
}

// tree is the supervised program with what it has started.
type tree interface {
	PID() int
	// Exited is closed when the program itself has ended, and Exit is how.
	Exited() <-chan struct{}
	Exit() proc.Exit
	// Kill kills what still runs.
	Kill() error
}

// startSupervised starts the program as the leader of a process group below a supervisor.
func (p *program) startSupervised(path string) error {
	said, theirSaid, err := os.Pipe()
	if err != nil {
		return fmt.Errorf("rehearse: %w", err)
	}
	theirOrders, orders, err := os.Pipe()
	if err != nil {
		return errors.Join(fmt.Errorf("rehearse: %w", err), said.Close(), theirSaid.Close())
	}
	cmd := p.command(append([]string{superviseCommand, path}, p.container.Command...)...)
	cmd.ExtraFiles = []*os.File{theirSaid, theirOrders}
	// A Ctrl-C is for the rehearsal.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	err = cmd.Start()
	closing := errors.Join(theirSaid.Close(), theirOrders.Close())
	if err = errors.Join(err, closing); err != nil {
		return errors.Join(fmt.Errorf("rehearse: start a supervisor: %w", err), said.Close(), orders.Close())
	}
	over := make(chan struct{}) // closed when the supervisor has ended
	lines := bufio.NewScanner(said)
	pid, failed := 0, "the supervisor has ended"
	if lines.Scan() {
		if _, err := fmt.Sscanf(lines.Text(), sayStarted+" %d", &pid); err != nil {
			failed = strings.TrimPrefix(lines.Text(), sayFailed+" ")
		}
	}
	go func() {
		defer close(over)
		for lines.Scan() {
			var code, signal int
			if _, err := fmt.Sscanf(lines.Text(), sayExited+" %d %d", &code, &signal); err == nil {
				p.ended(code, syscall.Signal(signal))
			}
		}
		_, _ = cmd.Wait(), said.Close()
		close(p.drained)
		if !p.hasEnded() {
			p.ended(-1, syscall.SIGKILL) // something has killed the supervisor
		}
	}()
	p.pid = pid
	p.stop = func(sig syscall.Signal) error { return give(orders, "%s %d", orderSignal, sig) }
	p.kill = func(ctx context.Context) error {
		err := give(orders, "%s", orderKill)
		return errors.Join(err, awaitKilled(ctx, over), orders.Close())
	}
	if pid == 0 {
		return errors.Join(fmt.Errorf("rehearse: start %s: %s", path, failed), p.kill(context.Background()))
	}
	return nil
}

// give sends an order. A supervisor that has ended needs none.
func give(orders *os.File, format string, args ...any) error {
	if _, err := fmt.Fprintf(orders, format+"\n", args...); err != nil && !errors.Is(err, syscall.EPIPE) {
		return err
	}
	return nil
}

// supervise is the supervisor. It returns its exit code.
func supervise(path string, argv []string) int {
	said, orders := os.NewFile(3, "said"), os.NewFile(4, "orders")
	syscall.CloseOnExec(3)
	syscall.CloseOnExec(4)
	tree, err := startTree(path, argv, []*os.File{nil, os.Stdout, os.Stderr})
	if err != nil {
		fmt.Fprintf(said, "%s %v\n", sayFailed, err)
		return 1
	}
	fmt.Fprintf(said, "%s %d\n", sayStarted, tree.PID())
	go func() {
		<-tree.Exited()
		exit := tree.Exit()
		fmt.Fprintf(said, "%s %d %d\n", sayExited, exit.Code, int(onLinux(exit.Signal)))
	}()
	for lines := bufio.NewScanner(orders); lines.Scan() && lines.Text() != orderKill; {
		var number int
		if _, err := fmt.Sscanf(lines.Text(), orderSignal+" %d", &number); err == nil {
			// Not to the whole group; it may have ended.
			_ = syscall.Kill(tree.PID(), here(syscall.Signal(number)))
		}
	}
	if err := tree.Kill(); err != nil {
		return 1
	}
	return 0
}

// awaitKilled waits for a killed process, which a broken disk may keep from ending.
func awaitKilled(ctx context.Context, ended <-chan struct{}) error {
	select {
	case <-ended:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("it was killed and has not ended: look what it waits for, such as a broken disk: %w", context.Cause(ctx))
	}
}
