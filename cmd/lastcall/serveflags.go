package main

import (
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/spf13/cobra"
)

// serveFlags are the flags of serve.
type serveFlags struct {
	file      string // the configuration
	storeFile string
	grace     time.Duration
	storeWait time.Duration
	given     config // the values of the overriding flags
}

// override is a flag that overrides a key of the configuration file.
type override struct {
	name  string
	field func(*config) any // a pointer to it
	usage string
}

func overrides() []override {
	return []override{
		{"migrate", func(c *config) any { return &c.Migrate }, "create the tables in PostgreSQL, or bring them up to date"},
		{"listen", func(c *config) any { return &c.Listen }, "address of the HTTP interface; unless it is on loopback, --token-file is needed"},
		{"token-file", func(c *config) any { return &c.TokenFile }, "file with names, roles and secrets of those who may use the HTTP interface; read again on SIGHUP"},
		{"probe-listen", func(c *config) any { return &c.ProbeListen }, "address of a listener for the platform, without a token: /healthz, /readyz, /metrics"},
		{"log-format", func(c *config) any { return &c.LogFormat }, "text, json, or auto: text on a terminal and JSON elsewhere"},
		{"concurrency", func(c *config) any { return &c.Concurrency }, "how many tasks run at once"},
		{"known-kinds-only", func(c *config) any { return &c.KnownKindsOnly }, "refuse tasks of kinds that no running worker knows, instead of keeping them until one does"},
		{"demo-kinds", func(c *config) any { return &c.DemoKinds }, "offer the kinds hash-tree and gzip-tree, to try lastcall; with a token file they need --demo-dir"},
		{"demo-dir", func(c *config) any { return &c.DemoDir }, "a directory that confines the demonstration kinds: they read and write nothing outside of it"},
	}
}

// define adds the flags to a command.
func (s *serveFlags) define(cmd *cobra.Command) {
	s.given = config{Listen: defaultListen, LogFormat: logAuto, Concurrency: 10}
	f := cmd.Flags()
	f.StringVar(&s.file, "config", "", "configuration file (YAML); flags override it")
	f.StringVar(&s.given.Store, "store", "", "the store: "+storeUsage)
	f.StringVar(&s.storeFile, "store-file", "", "file that contains the address of the store")
	f.Var(newDuration(&s.grace, 0, minGrace, maxGrace), "grace", "time from the stop signal to the platform's SIGKILL (default 30s, or LASTCALL_GRACE)")
	f.Var(newDuration(&s.storeWait, time.Minute, 0, maxGrace), "store-wait", "how long to wait at the start for a PostgreSQL server that is not available; 0s: fail at once")
	f.Var(newDuration(&s.given.Retention, 0, minRetention, maxDelay), "retention", "how long ended tasks are kept (default 7 days); of several servers on a store the shortest time counts")
	for _, o := range overrides() {
		switch field := o.field(&s.given).(type) {
		case *bool:
			f.BoolVar(field, o.name, *field, o.usage)
		case *int:
			f.IntVar(field, o.name, *field, o.usage)
		case *string:
			f.StringVar(field, o.name, *field, o.usage)
		}
	}
	cmd.MarkFlagsMutuallyExclusive("store", "store-file")
}

// graceEnv is a variable with the grace, which overrides the file's.
const graceEnv = "LASTCALL_GRACE"

// checkGrace refuses a grace in the environment that the flag would refuse.
func checkGrace(text string) error {
	if text == "" || text == "none" {
		return nil
	}
	if _, err := parseDuration(text, minGrace, maxGrace); err != nil {
		return fmt.Errorf("%s %.40q: %w", graceEnv, text, err)
	}
	return nil
}

// read returns the configuration of the file and the flags together.
func (s *serveFlags) read(cmd *cobra.Command) (c config, err error) {
	if s.file != "" {
		if c, err = readConfig(s.file); err != nil {
			return c, err
		}
	}
	address, err := storeAddress(s.given.Store, s.storeFile)
	if err != nil {
		return c, err
	}
	if address != "" {
		c.Store, c.storeFile = address, s.storeFile
	}
	if cmd.Flags().Changed("retention") {
		c.Retention = s.given.Retention
	}
	if s.grace == 0 {
		if err := checkGrace(os.Getenv(graceEnv)); err != nil {
			return c, err
		}
	}
	if cmd.Flags().Changed("concurrency") && s.given.Concurrency == 0 {
		return c, errors.New(noConcurrency)
	}
	for _, o := range overrides() {
		if !cmd.Flags().Changed(o.name) {
			continue
		}
		switch field := o.field(&c).(type) {
		case *bool:
			*field = *o.field(&s.given).(*bool)
		case *int:
			*field = *o.field(&s.given).(*int)
		case *string:
			*field = *o.field(&s.given).(*string)
		}
	}
	return c, c.complete()
}
