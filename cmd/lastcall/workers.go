package main

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/mattn/go-runewidth"
	"github.com/spf13/cobra"

	"github.com/lastcall-go/lastcall/task"
)

func newWorkers() *cobra.Command {
	var (
		to     target
		asJSON bool
	)
	cmd := &cobra.Command{
		Use:   "workers",
		Short: "List the workers that are registered now",
		Long: `List the workers that are registered now. The state is one of

  running   it runs tasks
  stopping  it received a stop, and finishes what it has
  dead      its process is gone, and others are about to resume its tasks

A running worker may have paused kinds that it cannot run now, since its machine lacks something;
the lines below the table say what. It tries them again by itself, and other workers run their tasks
meanwhile.

A worker whose lease has expired without a sign of life is listed until another one has resumed its
tasks.`,
		Example: `  lastcall workers
  lastcall workers --json | jq -r 'select(.state == "stopping") | .host'`,
		Args: args(0, ""),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return to.with(cmd.Context(), false, func(b backend) error {
				all, err := b.Workers(cmd.Context())
				if err != nil {
					return err
				}
				if asJSON {
					return printWorkerLines(cmd.OutOrStdout(), all)
				}
				return printWorkers(cmd.OutOrStdout(), all, time.Now())
			})
		},
	}
	to.flags(cmd)
	cmd.Flags().BoolVar(&asJSON, "json", false, "one JSON object a line")
	return cmd
}

// workerLine is a worker for programs to read, with the keys of the HTTP interface.
type workerLine struct {
	Worker   string        `json:"worker"`
	Name     string        `json:"name"`
	Host     string        `json:"host"`
	PID      int           `json:"pid"`
	Kinds    []string      `json:"kinds"`
	Queues   []string      `json:"queues"`
	Slots    int           `json:"slots"`
	Lease    string        `json:"lease"`
	State    string        `json:"state"`
	Liveness task.Liveness `json:"liveness"`
	Dead     bool          `json:"dead"`
	Since    time.Time     `json:"since"`

	Unresponsive []string          `json:"unresponsive"`
	Paused       []task.PausedKind `json:"paused"`
}

func printWorkerLines(w io.Writer, workers []task.WorkerInfo) error {
	enc := json.NewEncoder(w)
	for _, i := range workers {
		line := workerLine{
			Worker: i.Worker, Name: i.Name, Host: i.Host, PID: i.PID, Kinds: append([]string{}, i.Kinds...),
			Queues: append([]string{}, i.Queues...), Slots: i.Slots, Unresponsive: append([]string{}, i.Unresponsive...), Lease: i.Lease.String(),
			State: string(i.State), Liveness: i.Liveness, Dead: i.Dead, Since: i.Since.UTC(),
			Paused: append([]task.PausedKind{}, i.Paused...),
		}
		if err := enc.Encode(line); err != nil {
			return err
		}
	}
	return nil
}

func printWorkers(w io.Writer, workers []task.WorkerInfo, now time.Time) error {
	rows := [][]string{{"HOST", "PID", "STATE", "SINCE", "KINDS"}}
	for _, i := range workers {
		rows = append(rows, []string{plain(i.Host), fmt.Sprint(i.PID), plain(workerState(i)), ago(i.Since, now), plain(strings.Join(i.Kinds, ", "))})
	}
	if err := printRows(w, rows, columns(w)); err != nil {
		return err
	}
	for _, i := range workers {
		for _, k := range i.Paused {
			if !living(i) {
				continue
			}
			if _, err := fmt.Fprintf(w, "\nkind %s is paused on %s, process %d, which cannot run it now: %s\n", plain(k.Kind), plain(i.Host), i.PID, plain(k.Error)); err != nil {
				return err
			}
		}
	}
	return nil
}

// printRows prints rows as a table of the given width. A column is at most 40 wide, and the last
// one has what is left.
func printRows(w io.Writer, rows [][]string, rest int) error {
	const most, gap = 40, 2
	widths := make([]int, len(rows[0])-1)
	for i := range widths {
		for _, row := range rows {
			widths[i] = min(max(widths[i], runewidth.StringWidth(row[i])), most)
		}
		rest -= widths[i] + gap
	}
	for _, row := range rows {
		line := ""
		for i, width := range widths {
			line += pad(cut(row[i], width), width+gap)
		}
		if _, err := fmt.Fprintln(w, line+cut(row[len(widths)], max(rest, 12))); err != nil {
			return err
		}
	}
	return nil
}

// workerState returns the state that a worker reports, unless the worker is known to be dead.
func workerState(w task.WorkerInfo) string {
	if !living(w) {
		return "dead"
	}
	state := string(w.State)
	if n := len(w.Unresponsive); n > 0 {
		state += fmt.Sprintf(", %d unresponsive", n)
	}
	if n := len(w.Paused); n > 0 {
		state += fmt.Sprintf(", %d paused", n)
	}
	return state
}

// living reports that nothing speaks against a worker being alive.
func living(w task.WorkerInfo) bool { return !w.Dead && w.Liveness != task.LivenessDead }
