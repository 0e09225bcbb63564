package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/lastcall-go/lastcall/rehearse"
)

const rehearseHelp = `Run a program through its end as Kubernetes brings it about, on this machine: it is started, gets requests, is
deleted as a pod is - its endpoint goes a second later, the preStop hook runs, the stop signal is sent - and is killed
when its grace is over. The report says what clients met, how the program ended, and what to change. It needs no task,
no library and no Kubernetes; the program may be written in any language.

The program is PID 1 of a PID namespace where the system allows it, as in a container. Without --http the requests are
for / on the lowest port of loopback on which it listens.

Exit codes: 0 no finding failed, though there may be warnings; 1 one did; 2 it could not be run.`

const rehearseExamples = `  lastcall rehearse -- ./server --port 8080
  lastcall rehearse --http http://127.0.0.1:8080/slow --grace 30s --pre-stop 'sleep 5' -- node server.js
  lastcall rehearse --scenario hard-eviction -- python3 -m http.server 8080
  lastcall rehearse --explain LC104`

func newRehearse() *cobra.Command {
	var (
		c        rehearse.Config
		scenario []string
		preStop  string
		signame  string
		lag      time.Duration
		explain  string
		output   rehearsalOutput
		wholeEnd bool
		from     manifestFlags
	)
	cmd := &cobra.Command{
		Use:   "rehearse [flags] -- PROGRAM [ARGUMENT...]",
		Short: "See what Kubernetes will do to a program when it is deployed anew",
		Long: rehearseHelp,
		Example: rehearseExamples,
		RunE: func(cmd *cobra.Command, command []string) (err error) {
			if explain != "" {
				return explainCode(cmd.OutOrStdout(), explain)
			}
			if len(command) == 0 {
				return usageError{errors.New("no program given: lastcall rehearse [flags] -- PROGRAM [ARGUMENT...] (see lastcall rehearse --help)")}
			}
			sig, err := rehearse.ParseSignal(signame)
			if err != nil {
				return usageError{fmt.Errorf("--stop-signal: %w", err)}
			}
			c.Program.Command, c.Program.StopSignal, c.CutShort = command, sig, !wholeEnd
			if preStop != "" {
				c.Program.PreStop = &rehearse.Hook{Exec: []string{"/bin/sh", "-c", preStop}}
			}
			c.Scenarios = scenarios(scenario)
			if c.EndpointLag = lag; lag == 0 {
				c.EndpointLag = -1
			}
			plan, err := from.plan(cmd, &c)
			if err != nil {
				return notRehearsed(cmd, err)
			}
			defer func() { err = errors.Join(err, plan.Close()) }()
			return rehearseOnce(cmd, c, &output)
		},
	}
	f := cmd.Flags()
	f.SetInterspersed(false)
	from.flags(f)
	f.StringVar(&c.URL, "http", "", "the address that clients ask for, and that answers when the program is ready")
	f.StringVar(&c.SlowURL, "slow", "", "an address that takes a second or some to answer: three requests for it are in flight at the signal")
	f.DurationVar(&c.Grace, "grace", 30*time.Second, "the pod's terminationGracePeriodSeconds")
	f.DurationVar(&c.NodeGrace, "node-grace", 0, "what a node leaves to the pod in a soft eviction or its shutdown, where that is less")
	f.StringVar(&preStop, "pre-stop", "", "the preStop hook, a command of /bin/sh")
	f.StringVar(&signame, "stop-signal", "TERM", "the stop signal of the image or the pod, a name or a number")
	f.DurationVar(&lag, "endpoint-lag", time.Second, "for how long clients go on connecting after the deletion")
	f.StringSliceVar(&scenario, "scenario", nil, "how the pod ends, or all: "+scenarioNames()+"; delete without this flag")
	f.IntVar(&c.Rate, "rate", 50, "how many clients connect in a second")
	f.DurationVar(&c.Ready, "ready", 30*time.Second, "for how long the program may take to become ready")
	f.StringArrayVar(&c.Program.Env, "env", nil, "NAME=VALUE for the program; may be given several times")
	f.BoolVar(&wholeEnd, "whole-grace", false, "wait for the whole grace, and not 8 s at most")
	f.BoolVar(&c.AnyHost, "any-host", false, "allow an --http that is not of loopback")
	output.flags(f)
	f.StringVar(&explain, "explain", "", "say what a finding means, and what to change")
	return cmd
}

// scenarios are those of the given names, "all" among them.
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

// scenarioNames are the names of all scenarios.
func scenarioNames() string {
	var names []string
	for _, s := range rehearse.All() {
		names = append(names, string(s))
	}
	return strings.Join(names, ", ")
}

func rehearseOnce(cmd *cobra.Command, c rehearse.Config, o *rehearsalOutput) error {
	ctx, stop := signal.NotifyContext(cmd.Context(), os.Interrupt, syscall.SIGTERM)
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
	case !report.OK():
		return exitError(1)
	}
	return nil
}

// explainCode says what a finding means.
func explainCode(w io.Writer, name string) error {
	code := rehearse.Code(strings.ToUpper(name))
	if !code.Known() {
		return usageError{fmt.Errorf("there is no finding %q: they are %v", name, rehearse.Codes())}
	}
	_, err := fmt.Fprintf(w, "%s  The program %s.\n\n%s\n\n%s\n", code, code.Title(), code.Why(), code.Change())
	return err
}
