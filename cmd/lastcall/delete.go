package main

import (
	"github.com/spf13/cobra"

	"github.com/lastcall-go/lastcall/task"
)

func newDelete() *cobra.Command {
	return taskCommand(task.VerbDelete, "Delete tasks that have ended, with all their data",
		`Delete tasks that have ended, with all their data: payload, meta, runs, checkpoint, log, result. A
task that waits or runs is not deleted: cancel it first. Backups and the database's own logs are not
touched. Only the server's log has who deleted a task, and why.`,
		`  lastcall delete 0197c0de-0000-7000-8000-000000000000
  lastcall delete --meta user=4711 --dry-run
  lastcall delete --status failed --finished-to 720h`,
		backend.Delete)
}
