package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"github.com/spf13/cobra"

	"github.com/lastcall-go/lastcall/task"
	"github.com/lastcall-go/lastcall/task/httpapi"
)

// taskCommand creates a command that changes tasks: those that are named, or all that match
// filters. An error about one task does not keep it from the others.
func taskCommand(verb task.Verb, short, long, example string, ask func(backend, context.Context, string) error) *cobra.Command {
	var (
		to     target
		all    bulk
		asJSON bool
	)
	cmd := &cobra.Command{
		Use:   string(verb) + " {ID... | FILTER... | --all}",
		Short: short,
		Long: long + `

For each task that is named by its ID the command prints the state of the task afterwards. An error
about one task does not stop the others; the exit code is then 1.

` + bulkHelp,
		Example: example,
		Args:    func(_ *cobra.Command, ids []string) error { return all.check(ids) },
		RunE: func(cmd *cobra.Command, ids []string) error {
			return to.with(cmd.Context(), false, func(b backend) error {
				if len(ids) == 0 {
					return all.run(cmd, b, verb, asJSON)
				}
				var failed error
				for _, id := range ids {
					if err := ask(b, cmd.Context(), id); err != nil {
						failed = errors.Join(failed, aboutTask(id, err))
						continue
					}
					if err := printDone(cmd, b, verb, id, asJSON); err != nil {
						return errors.Join(failed, err)
					}
				}
				return failed
			})
		},
	}
	to.flags(cmd)
	all.flags(cmd)
	cmd.Flags().StringVar(&to.because, "because", "", "the reason, which is recorded in the history of each task with your name")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON: an object on a line for each task that is named, or one with the result")
	return cmd
}

// printDone prints the state of a task after a command.
func printDone(cmd *cobra.Command, b backend, verb task.Verb, id string, asJSON bool) error {
	if verb != task.VerbDelete {
		return printNow(cmd, b, id, asJSON)
	}
	if asJSON {
		return json.NewEncoder(cmd.OutOrStdout()).Encode(map[string]any{"id": id, "deleted": true})
	}
	_, err := fmt.Fprintf(cmd.OutOrStdout(), "%s  deleted\n", id)
	return err
}

// printNow prints the present state of a task. A token that may change a task may not be allowed to
// read it.
func printNow(cmd *cobra.Command, b backend, id string, asJSON bool) error {
	t, err := b.Get(cmd.Context(), id)
	if err != nil {
		return fmt.Errorf("it is done, but task %s cannot be looked at: %w", id, err)
	}
	if asJSON {
		return json.NewEncoder(cmd.OutOrStdout()).Encode(httpapi.NewTaskSummary(t))
	}
	_, err = fmt.Fprintf(cmd.OutOrStdout(), "%s  %s\n", t.ID, statusWord(t.Status, t.Reason))
	return err
}

// queueCommand creates a command that changes queues.
func queueCommand(name, said, short, long, example string, verb func(backend, context.Context, string) error) *cobra.Command {
	var to target
	cmd := &cobra.Command{
		Use: name + " QUEUE...", Short: short, Long: long, Example: example,
		Args: atLeastOne("QUEUE..."),
		RunE: func(cmd *cobra.Command, queues []string) error {
			return to.with(cmd.Context(), false, func(b backend) error {
				for _, queue := range queues {
					if err := verb(b, cmd.Context(), queue); err != nil {
						return fmt.Errorf("queue %s: %w", queue, err)
					}
					remarkQueue(cmd, b, queue)
					if _, err := fmt.Fprintf(cmd.OutOrStdout(), "%s  %s\n", queue, said); err != nil {
						return err
					}
				}
				return nil
			})
		},
	}
	to.flags(cmd)
	return cmd
}

// remarkQueue prints a remark if a queue has no tasks: its name may be mistyped. Reading the queue
// may fail without harm: a token that may pause a queue may not be allowed to read it.
func remarkQueue(cmd *cobra.Command, b backend, queue string) {
	counts, err := b.Count(cmd.Context())
	if err != nil || slices.ContainsFunc(counts.Tasks, func(c task.Count) bool { return c.Queue == queue || c.Queue == task.OtherLines }) {
		return
	}
	workers, err := b.Workers(cmd.Context())
	if err != nil || slices.ContainsFunc(workers, func(w task.WorkerInfo) bool { return slices.Contains(w.Queues, queue) }) {
		return
	}
	fmt.Fprintf(cmd.ErrOrStderr(), "lastcall: the queue %s has no tasks, and no worker names it: is that its name?\n", queue)
}
