//go:build linux

// Command service is the driver of Lastcall for the chaos harness. It is a Go service that embeds
// the library as the documentation teaches, and also has the commands that the harness needs.
//
//	service setup     creates the schema, and prints what the library can do
//	service upgrade   makes the schema one version newer than this program
//	service worker    serves tasks until SIGTERM
//	service client    answers the harness's calls
//	service inspect   prints the content of the store, as a history.State in JSON
//	service program   is the program that an exec kind of the real server runs
//
// It reads its settings from the environment variables that package wire names. The store's address
// is sqlite:PATH, or an address of PostgreSQL.
package main

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"time"

	"github.com/lastcall-go/lastcall/test/chaos/history"
	"github.com/lastcall-go/lastcall/test/chaos/wire"
)

func main() { os.Exit(command(os.Args[1:])) }

// Exit codes in addition to those of lastcall.Main.
const (
	codeFailed  = 1
	codeUsage   = 2
	codePlanned = 86 // the plan wants the run to end its process
)

// command executes the command that args name, and returns the exit code.
func command(args []string) int {
	s, err := readSettings()
	if err == nil && len(args) != 1 {
		err = errors.New("give one command: setup, upgrade, worker, client, inspect or program")
	}
	if err != nil {
		return usage(err)
	}
	switch args[0] {
	case "setup":
		return exitCode(setUp(s, os.Stdout))
	case "upgrade":
		return exitCode(upgrade(s))
	case "worker":
		return serve(s)
	case "client":
		return exitCode(answerCalls(s))
	case "inspect":
		return exitCode(inspect(s, os.Stdout))
	case "program":
		return runProgram()
	case daemonCommand:
		return exitCode(forkAgain())
	case hostileCommand:
		return exitCode(forkForEver())
	case grandchildCommand:
		return outlive()
	}
	return usage(fmt.Errorf("%q is no command: use setup, upgrade, worker, client, inspect or program", args[0]))
}

func usage(err error) int {
	fmt.Fprintln(os.Stderr, "service:", err)
	return codeUsage
}

func exitCode(err error) int {
	if err == nil {
		return 0
	}
	fmt.Fprintln(os.Stderr, "service:", err)
	return codeFailed
}

// settings are the settings in the environment.
type settings struct {
	store        string // its address
	lease, grace time.Duration
	retention    time.Duration // of ended tasks; 0 means for ever
	schedules    []history.Schedule
	breaks       breakage
	log          *slog.Logger
}

func readSettings() (s settings, err error) {
	s.store = os.Getenv(wire.EnvStore)
	s.breaks = breakage(os.Getenv(wire.EnvBreak))
	s.log = slog.New(slog.NewTextHandler(os.Stderr, nil))
	if s.lease, err = durationOf(wire.EnvLease, "15s"); err != nil {
		return s, err
	}
	if s.grace, err = durationOf(wire.EnvGrace, "10s"); err != nil {
		return s, err
	}
	if text := os.Getenv(wire.EnvSchedules); text != "" {
		if err := json.Unmarshal([]byte(text), &s.schedules); err != nil {
			return s, fmt.Errorf("%s: %w", wire.EnvSchedules, err)
		}
	}
	s.retention, err = durationOf(wire.EnvRetention, "0s")
	return s, err
}

// durationOf reads a variable that holds a duration.
func durationOf(variable, otherwise string) (time.Duration, error) {
	d, err := time.ParseDuration(cmp.Or(os.Getenv(variable), otherwise))
	if err != nil {
		return 0, fmt.Errorf("%s: %w: write it as 1s or 200ms", variable, err)
	}
	return d, nil
}
