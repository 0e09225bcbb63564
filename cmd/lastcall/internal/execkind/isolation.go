package execkind

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"

	"github.com/lastcall-go/lastcall/cmd/lastcall/internal/confine"
	"github.com/lastcall-go/lastcall/internal/proc"
)

// FindIsolation tries out which isolation the system allows for programs. If that is none, the
// error says why.
func FindIsolation(k *proc.Keeper) (confine.Isolation, error) {
	possible := confine.Possible()
	if possible == confine.Shared {
		return possible, errors.ErrUnsupported
	}
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		return confine.Shared, err
	}
	defer null.Close()
	s, err := supervise(k, start{Isolation: possible, Try: true}, streams{null, null, null}, nil, "try")
	if err != nil {
		return confine.Shared, err
	}
	<-s.done
	switch {
	case s.failed != nil:
		return confine.Shared, s.failed
	case s.state == nil || !s.state.Success():
		return confine.Shared, fmt.Errorf("a shim that was to try has ended: %s", s.shimEnd)
	}
	return possible, nil
}

// startAdmitted starts a shim, and admits it to its namespaces.
func startAdmitted(k *proc.Keeper, cmd *exec.Cmd, i confine.Isolation) error {
	if err := k.Start(cmd); err != nil {
		return err
	}
	err := i.Admit(cmd.Process.Pid)
	if err != nil {
		_ = cmd.Process.Kill() // it waits for its first order
		_ = k.Wait(cmd)        // killed
	}
	return err
}

// isolation returns the isolation of the run.
func (x *execution) isolation() confine.Isolation {
	if x.kind.HostPID {
		return confine.Shared
	}
	return x.runner.Isolation
}

// confine gives the run's directory to the program's user, and creates a control group for its
// limits.
func (x *execution) confine() (err error) {
	if err := x.giveTo(x.kind.User); err != nil {
		return err
	}
	if x.kind.Limits == (confine.Limits{}) {
		return nil
	}
	if x.runner.Cgroups == nil {
		return fmt.Errorf("kind %s has limits, for which the server has no control groups: %w", x.kind.Name, errors.ErrUnsupported)
	}
	x.group, err = x.runner.Cgroups.Make(x.run.ID()+"-"+strconv.Itoa(x.run.Task().Runs), x.kind.Limits)
	return err
}

// unconfine removes the control group.
func (x *execution) unconfine() {
	if err := x.group.Remove(); err != nil {
		x.runner.Logger.Warn("cannot tidy up after a run", "task", x.run.ID(), "kind", x.kind.Name, "error", err)
	}
}
