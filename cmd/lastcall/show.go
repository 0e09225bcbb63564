package main

import (
	"encoding/json"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"github.com/lastcall-go/lastcall/httpapi"
)

func newShow() *cobra.Command {
	var (
		p      place
		asJSON bool
	)
	cmd := &cobra.Command{
		Use:     "show ID",
		Short:   "Show a task and all its runs",
		Example: "  lastcall show 0197c0de-0000-7000-8000-000000000000",
		Args:    args(1, "ID"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return p.with(cmd.Context(), false, func(b backend) error {
				t, err := story(cmd.Context(), b, args[0])
				if err != nil {
					return err
				}
				if asJSON {
					return json.NewEncoder(cmd.OutOrStdout()).Encode(t)
				}
				return printStory(cmd.OutOrStdout(), t)
			})
		},
	}
	p.flags(cmd)
	cmd.Flags().BoolVar(&asJSON, "json", false, "print the task as JSON")
	return cmd
}

// printStory prints what a task is, and one line for each run.
func printStory(w io.Writer, t httpapi.Task) error {
	lines := []string{
		fmt.Sprintf("task     %s", t.ID),
		fmt.Sprintf("kind     %s", t.Kind),
		fmt.Sprintf("status   %s since %s", statusWord(t), local(t.Since)),
		fmt.Sprintf("payload  %s", t.Payload),
		fmt.Sprintf("counts   %d runs, %d attempts, %d interruptions, %d crashes", t.Runs, t.Attempts, t.Interruptions, t.Crashes),
	}
	if t.Progress.Fraction > 0 || t.Progress.Message != "" {
		lines = append(lines, fmt.Sprintf("done     %.0f%% %q", 100*t.Progress.Fraction, t.Progress.Message))
	}
	if t.WaitsFor != "" {
		lines = append(lines, "waits    "+t.WaitsFor)
	}
	if t.Error != "" {
		lines = append(lines, "error    "+t.Error)
	}
	for _, r := range t.History {
		lines = append(lines, runLine(r))
	}
	for _, l := range lines {
		if _, err := fmt.Fprintln(w, l); err != nil {
			return err
		}
	}
	return nil
}

// runLine is a run: from when, how long, where, and why it ended.
func runLine(r httpapi.Run) string {
	line := fmt.Sprintf("run      %s  ", local(r.StartedAt))
	if r.EndedAt.IsZero() {
		return line + fmt.Sprintf("running on %s, pid %d", r.Host, r.PID)
	}
	line += fmt.Sprintf("%-8s on %s, pid %d: %s", r.EndedAt.Sub(r.StartedAt).Round(time.Millisecond), r.Host, r.PID, r.Status)
	if r.Reason != "" {
		line += " (" + string(r.Reason) + ")"
	}
	if r.Error != "" {
		line += ": " + r.Error
	}
	return line
}

func local(t time.Time) string { return t.Local().Format("2006-01-02 15:04:05") }
