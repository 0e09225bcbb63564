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

// Without a PID namespace, a separate process starts the program, so that everything that the
// program starts can be found and killed: that process adopts the orphans. It reads orders, one a
// line, and reports what happens. When the orders end, for example because the sender has died, it
// kills everything.
const (
	sayStarted, sayFailed, sayExited = "started", "failed", "exited"
	orderSignal, orderKill           = "signal", "kill"
)

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
	tree, err := proc.Start(path, argv, os.ProcAttr{Files: []*os.File{nil, os.Stdout, os.Stderr}})
	if err != nil {
		fmt.Fprintf(said, "%s %v\n", sayFailed, err)
		return 1
	}
	fmt.Fprintf(said, "%s %d\n", sayStarted, tree.PID())
	go func() {
		<-tree.Exited()
		exit := tree.Exit()
		fmt.Fprintf(said, "%s %d %d\n", sayExited, exit.Code, int(exit.Signal))
	}()
	for lines := bufio.NewScanner(orders); lines.Scan() && lines.Text() != orderKill; {
		var number int
		if _, err := fmt.Sscanf(lines.Text(), orderSignal+" %d", &number); err == nil {
			_ = syscall.Kill(tree.PID(), syscall.Signal(number)) // not to the whole group; it may have ended
		}
	}
	if err := tree.Kill(); err != nil {
		return 1
	}
	return 0
}
