// Command lastcall runs tasks that survive a deploy, and looks at them.
//
//	lastcall serve --store sqlite:tasks.db --demo-kinds
//	lastcall submit hash-tree '{"dir": "/usr/share/doc", "out": "/tmp/doc.sums"}'
//	lastcall list --status interrupted
//	lastcall show 0197c0de-...
//
// serve works on a store and offers it on HTTP; the other commands ask a server, or a store
// directly.
//
// "lastcall help exit-codes" and docs/cli.md say what the exit codes mean.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/lastcall-go/lastcall/cmd/lastcall/internal/execkind"
)

func main() {
	if len(os.Args) > 1 && os.Args[1] == execkind.ShimCommand { // started by serve, for a program
		os.Exit(execkind.Shim())
	}
	out, remarks := harmless(os.Stdout), harmless(os.Stderr)
	log.SetOutput(remarks) // package slog writes there by default
	root := newRoot()
	root.SetOut(out)
	root.SetErr(remarks)
	err := root.ExecuteContext(context.Background())
	var exit exitError
	switch {
	case err == nil:
	case errors.As(err, &exit):
		os.Exit(int(exit))
	default:
		complain(remarks, err)
		if errors.As(err, new(usageError)) {
			os.Exit(2)
		}
		os.Exit(1)
	}
}

// complain prints why the program ends.
func complain(w io.Writer, err error) { fmt.Fprintf(w, "lastcall: %v\n", err) }

// exitError ends the program with an exit code. The reason has been printed already.
type exitError int

func (e exitError) Error() string { return fmt.Sprintf("exit code %d", int(e)) }

// usageError is a command line that was not understood.
type usageError struct{ error }

func (e usageError) Unwrap() error { return e.error }

func newRoot() *cobra.Command {
	root := &cobra.Command{
		Use:   "lastcall",
		Short: "Tasks that survive a deploy",
		Long:  "Lastcall runs tasks. When its process is stopped, a task is finished in time or recorded as\ninterrupted, with its checkpoint, and the next process resumes it from there.",
		Args:  noSuchCommand,
		RunE:  func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
		// cobra checks this as well, but its error is not marked as one of the command line.
		PersistentPreRunE: func(cmd *cobra.Command, _ []string) error {
			if err := cmd.ValidateFlagGroups(); err != nil {
				return misused(cmd, err)
			}
			return nil
		},
		SilenceUsage:  true,
		SilenceErrors: true,
	}
	root.SetFlagErrorFunc(misused)
	root.AddCommand(newServe(), newSubmit(), newList(), newShow(), newLogs(), newCancel(), newRetry(), newInterrupt(), newDelete(),
		newPause(), newResume(), newSchedules(), newWorkers(), newConfig(), newMigrate(), newDoctor(), newRehearse(), newHealthcheck(), newDemo(), newVersion(), newExitCodes())
	return root
}

// misused adds to an error where the flags of a command are explained.
func misused(cmd *cobra.Command, err error) error {
	return usageError{fmt.Errorf("%w (see %s --help)", err, cmd.CommandPath())}
}

// noSuchCommand refuses an unknown command, which cobra takes for an argument of the program
// itself.
func noSuchCommand(cmd *cobra.Command, given []string) error {
	if len(given) == 0 {
		return nil
	}
	var names []string
	for _, c := range cmd.Commands() {
		if c.IsAvailableCommand() {
			names = append(names, c.Name())
		}
	}
	return usageError{fmt.Errorf("unknown command %q: use one of %s (see lastcall --help)", given[0], strings.Join(names, ", "))}
}

// args checks the number of arguments. Its error names them.
func args(n int, usage string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, given []string) error {
		if len(given) != n {
			return usageError{fmt.Errorf("%d arguments given, %d needed: %s %s", len(given), n, cmd.CommandPath(), usage)}
		}
		return nil
	}
}

// atLeastOne requires an argument or more.
func atLeastOne(usage string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, given []string) error {
		if len(given) == 0 {
			return usageError{fmt.Errorf("no argument given: %s %s", cmd.CommandPath(), usage)}
		}
		return nil
	}
}
