//go:build !norehearse

package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/lastcall-go/lastcall/rehearse"
)

const rehearseHelp = `Rehearse on this machine how Kubernetes ends a program:

  - the program is started, and clients send requests
  - it is deleted as a pod is: its endpoint goes a second later, the preStop hook runs, and the stop
    signal is sent
  - it is killed when its grace is over

The report says what clients met, how the program ended, and what to change. It needs no task, no
library and no Kubernetes. The program may be written in any language.

The program is PID 1 of a PID namespace if the system allows it, as in a container. Without --http
the requests are for / on the lowest port of loopback on which it listens.

With -f the grace, the hooks, the probes, the stop signal and the environment are those of a
manifest or a Compose file, as Kubernetes and Docker interpret them. A command without arguments
gets the args of the manifest. If the manifest needs something that it does not contain, such as a
Secret, the command names it: give it with --env, --file or another -f.

With --image the program is that of the image, with the image's files, user, environment, working
directory and stop signal, in namespaces of its own. The image is a file, or one that Docker, Podman
or containerd has; none is pulled. A command behind -- replaces ENTRYPOINT and CMD. The program
shares this machine's network. With --network none the whole rehearsal has a loopback of its own,
and can reach nothing else.

Exit codes: 0 no finding failed, though there may be warnings; 1 one did; 2 the rehearsal could not
be run.`

const rehearseExamples = `  lastcall rehearse -- python3 -m http.server 8080
  lastcall rehearse --http http://127.0.0.1:8080/slow --grace 30s --pre-stop 'sleep 5' -- node server.js
  lastcall rehearse --readiness http://127.0.0.1:8080/readyz --pre-stop sleep:5s -- ./server --port 8080
  lastcall rehearse --scenario all --grace 10s --html rehearsal.html -- ./server --port 8080
  docker build -t app . && lastcall rehearse --image app
  docker save app > app.tar; lastcall rehearse --image app.tar
  helm template . | lastcall rehearse -f - --container api -- ./server
  lastcall rehearse --explain LC104
  lastcall rehearse --explain LC104 --language node`

func newRehearse() *cobra.Command {
	var (
		c       rehearse.Config
		explain explanation
		output  rehearsalOutput
		end     endFlags
		from    manifestFlags
		traffic trafficFlags
		pods    podFlags
		in      imageFlags
	)
	cmd := &cobra.Command{
		Use:     "rehearse [flags] -- PROGRAM [ARGUMENT...]",
		Short:   "See what Kubernetes will do to a program in a rollout",
		Long:    rehearseHelp,
		Example: rehearseExamples,
		RunE: func(cmd *cobra.Command, command []string) (err error) {
			if explain.code != "" {
				return explain.write(cmd.OutOrStdout())
			}
			if len(command) == 0 && in.file == "" {
				return usageError{errors.New("no program given: lastcall rehearse [flags] -- PROGRAM [ARGUMENT...] (see lastcall rehearse --help)")}
			}
			if err := end.apply(&c); err != nil {
				return err
			}
			if c.Traffic, err = traffic.targets(); err != nil {
				return err
			}
			done, err := in.enter(cmd)
			if done {
				return err
			}
			if err != nil {
				return output.notRehearsed(cmd, err)
			}
			c.Program.Command = command
			remove, err := prepare(cmd, &c, command, &from, &in)
			if err != nil {
				return output.notRehearsed(cmd, err)
			}
			defer func() { err = errors.Join(err, remove()) }()
			if err := pods.apply(&c); err != nil {
				return err
			}
			output.source = cmp.Or(output.source, from.file())
			return rehearseOnce(cmd, c, &output)
		},
	}
	cmd.SetUsageFunc(rehearseUsage)
	f := cmd.Flags()
	f.SetInterspersed(false)
	from.flags(f)
	configFlags(f, &c)
	traffic.flags(f)
	pods.flags(f)
	in.flags(f)
	end.flags(f)
	output.flags(f)
	explain.flags(f)
	return cmd
}

// endFlags are the flags that choose how the program is ended.
type endFlags struct {
	scenarios       []string
	signal          string
	lag             time.Duration
	quick, wholeEnd bool
}

// flags adds the flags.
func (e *endFlags) flags(f *pflag.FlagSet) {
	f.StringVar(&e.signal, "stop-signal", "TERM", "the stop signal of the image or the pod, a name or a number")
	f.DurationVar(&e.lag, "endpoint-lag", time.Second, "for how long clients still connect after the deletion")
	f.StringSliceVar(&e.scenarios, "scenario", nil, "how the pod ends, or all: "+scenarioNames()+"; delete without this flag")
	f.BoolVar(&e.quick, "quick", false, "a verdict in less than 15 s, as without --scenario")
	f.BoolVar(&e.wholeEnd, "whole-grace", false, "wait for the whole grace if no --scenario is given, and not only for 10 s")
}

// apply puts the values of the flags into the configuration of a rehearsal.
func (e *endFlags) apply(c *rehearse.Config) error {
	if e.quick && (e.wholeEnd || len(e.scenarios) > 0) {
		return usageError{errors.New("--quick is the scenario delete, and does not wait: leave --scenario and --whole-grace out")}
	}
	sig, err := rehearse.ParseSignal(e.signal)
	if err != nil {
		return usageError{fmt.Errorf("--stop-signal: %w", err)}
	}
	c.Program.StopSignal, c.CutShort = sig, !e.wholeEnd && len(e.scenarios) == 0
	c.Scenarios = scenarios(e.scenarios)
	if c.EndpointLag = e.lag; e.lag == 0 {
		c.EndpointLag = -1
	}
	return nil
}

// configFlags adds the flags that set one field each.
func configFlags(f *pflag.FlagSet, c *rehearse.Config) {
	f.DurationVar(&c.Grace, "grace", 30*time.Second, "the pod's terminationGracePeriodSeconds")
	f.DurationVar(&c.NodeGrace, "node-grace", 0, "the time that a node leaves the pod in a soft eviction or its own shutdown, if that is less")
	f.IntVar(&c.Rate, "rate", 50, "how many clients connect each second")
	f.DurationVar(&c.Ready, "ready", 30*time.Second, "for how long the program may take to become ready")
	f.StringArrayVar(&c.Program.Env, "env", nil, "NAME=VALUE for the program; may be given several times")
	f.BoolVar(&c.AnyHost, "any-host", false, "allow a target that is not on loopback, or whose port is in use already")
}

// scenarios returns the scenarios of the given names, "all" among them.
func scenarios(names []string) (found []rehearse.Scenario) {
	for _, name := range names {
		if name == "all" {
			found = append(found, rehearse.All()...)
			continue
		}
		found = append(found, rehearse.Scenario(name))
	}
	return found
}

// scenarioNames lists the names of all scenarios.
func scenarioNames() string {
	var names []string
	for _, s := range rehearse.All() {
		names = append(names, string(s))
	}
	return strings.Join(names, ", ")
}

func rehearseOnce(cmd *cobra.Command, c rehearse.Config, o *rehearsalOutput) error {
	ctx, stop := untilInterrupt(cmd.Context())
	defer stop()
	if err := o.begin(cmd, &c); err != nil {
		return err
	}
	report, err := rehearse.Do(ctx, c)
	if cause := context.Cause(ctx); err != nil && cause != nil {
		err = fmt.Errorf("the rehearsal was ended, and the program with it: %w", err)
	}
	if writing := o.report(report, err); writing != nil {
		complain(cmd.ErrOrStderr(), writing)
		return exitError(2)
	}
	switch {
	case err != nil:
		return exitError(2)
	case !report.OK() && o.newBaseline == "":
		return exitError(1)
	}
	return nil
}
