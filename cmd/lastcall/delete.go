package main

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"
)

func newDelete() *cobra.Command {
	var to target
	cmd := &cobra.Command{
		Use:   "delete ID...",
		Short: "Delete tasks that have ended, with all that is kept of them",
		Long: `Delete tasks that have ended, with all that is kept of them: payload, meta, runs, checkpoint, log, result. One that waits
or runs is not deleted: cancel it first. Backups and the database's own logs are not touched.

A task that cannot be deleted makes the exit code 1, and does not hold back the others.`,
		Example: `  lastcall delete 0197c0de-0000-7000-8000-000000000000
  lastcall list --meta user=4711 --status failed --json | jq -r .id | xargs lastcall delete`,
		Args: atLeastOne("ID..."),
		RunE: func(cmd *cobra.Command, ids []string) error {
			return to.with(cmd.Context(), false, func(b backend) error {
				var failed error
				for _, id := range ids {
					if err := b.Delete(cmd.Context(), id); err != nil {
						failed = errors.Join(failed, aboutTask(id, err))
						continue
					}
					if _, err := fmt.Fprintf(cmd.OutOrStdout(), "%s  deleted\n", id); err != nil {
						return errors.Join(failed, err)
					}
				}
				return failed
			})
		},
	}
	to.flags(cmd)
	return cmd
}
