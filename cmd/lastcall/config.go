package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/lastcall-go/lastcall/cmd/lastcall/internal/execkind"
	"github.com/lastcall-go/lastcall/task"
)

const (
	defaultListen = "127.0.0.1:8321"
	minRetention  = time.Minute
	noConcurrency = "concurrency is 0: use a positive number, or leave it out for 10"
)

// config is the configuration of serve, from a file and from flags.
type config struct {
	// Version is the version of the file's format: 1.
	Version int `yaml:"version"`
	// Store is the address of the store, as sqlite:PATH or postgres://USER@HOST/DATABASE. In a file a
	// relative path starts at the file's directory.
	Store string `yaml:"store"`
	// Migrate creates the tables in PostgreSQL, or brings them up to date.
	Migrate bool `yaml:"migrate"`
	// Listen is the address of the HTTP interface.
	Listen string `yaml:"listen"`
	// TokenFile has the tokens of those who may use the interface. Without it the interface is for
	// this machine only. In a file a relative path starts at the file's directory.
	TokenFile string `yaml:"tokenFile"`
	// ProbeListen is the address of a second listener, for the platform: /healthz, /readyz and
	// /metrics, without a token. Empty means none.
	ProbeListen string `yaml:"probeListen"`
	// LogFormat is text, json, or auto: text on a terminal and JSON elsewhere.
	LogFormat string `yaml:"logFormat"`
	// Grace is the time from the stop signal to the platform's SIGKILL.
	Grace time.Duration `yaml:"grace"`
	// Concurrency bounds how many tasks run at once.
	Concurrency int `yaml:"concurrency"`
	// Retention is how long ended tasks are kept if their kind does not set it; 0 if the file does not
	// set it either.
	Retention time.Duration `yaml:"retention"`
	// KnownKindsOnly refuses tasks of kinds that no running worker handles.
	KnownKindsOnly bool `yaml:"knownKindsOnly"`
	// DemoKinds offers hash-tree and gzip-tree.
	DemoKinds bool `yaml:"demoKinds"`
	// DemoDir confines these kinds: they read and write only below it. In a file a relative path
	// starts at the file's directory.
	DemoDir string `yaml:"demoDir"`
	// Kinds are the kinds whose handlers are programs, by name.
	Kinds map[string]kindConfig `yaml:"kinds"`
	// Schedules create tasks at their times. ScheduleSet is the name of the set of all of them: each
	// service on a store has a set of its own. ScheduleRevision orders the versions of the set.
	Schedules        map[string]scheduleConfig `yaml:"schedules"`
	ScheduleSet      string                    `yaml:"scheduleSet"`
	ScheduleRevision int64                     `yaml:"scheduleRevision"`

	file      configFile           // where it was read
	storeFile string               // the file that Store was read from; or ""
	programs  []execkind.Kind      // from Kinds
	entries   []task.ScheduleEntry // from Schedules
}

// readConfig reads a file. The error lists every problem of the file with its line.
func readConfig(path string) (config, error) {
	var c config
	faults, err := c.read(path)
	if err != nil {
		return c, err
	}
	if len(faults) > 0 {
		return c, c.file.located(faults)
	}
	if file, ok := strings.CutPrefix(c.Store, "sqlite:"); ok && file != "" && !filepath.IsAbs(file) {
		c.Store = "sqlite:" + filepath.Join(filepath.Dir(path), file)
	}
	return c, nil
}

// read reads a file, and finds what is wrong with it whatever the flags are.
func (c *config) read(path string) ([]fault, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("config: %w", err)
	}
	faults := c.decode(path, b)
	var wrong []fault
	if c.file.root != nil && c.Version != 1 {
		text := fmt.Sprintf("version is %d, this program reads version 1: write \"version: 1\"", c.Version)
		wrong = append(wrong, fault{key: []string{"version"}, text: text})
	}
	if c.Store != "" {
		if err := checkAddress(c.Store); err != nil {
			wrong = append(wrong, fault{key: []string{"store"}, text: err.Error()})
		}
	}
	for _, name := range []*string{&c.TokenFile, &c.DemoDir} {
		if *name != "" && !filepath.IsAbs(*name) {
			*name = filepath.Join(filepath.Dir(path), *name)
		}
	}
	var kinds []fault
	c.programs, kinds = programs(c.Kinds, path)
	kinds = append(kinds, c.readSchedules()...)
	return append(faults, c.file.elsewhere(append(wrong, kinds...), faults)...), nil
}

// complete fills in defaults and refuses values that cannot work.
func (c *config) complete() error {
	if c.Store == "" {
		return errors.New("no store given: use --store sqlite:PATH or --store postgres://USER@HOST/DATABASE, LASTCALL_STORE, or store: in the config file")
	}
	if c.Listen == "" {
		c.Listen = defaultListen
	}
	for _, f := range c.faults() { // it may come from a flag, so it has no line
		return errors.New(f.text)
	}
	return nil
}

// faults finds values that cannot work, whether they came from a file or from flags.
func (c *config) faults() []fault {
	var all []fault
	add := func(key, text string, args ...any) {
		all = append(all, fault{key: []string{key}, text: fmt.Sprintf(text, args...)})
	}
	if c.Grace == 0 && c.file.has("grace") {
		add("grace", "grace is 0: use a positive duration, or leave it out for 30s")
	}
	if c.Grace < 0 {
		add("grace", "grace is %v: use a positive duration, as 30s", c.Grace)
	}
	if c.Grace > 0 && c.Grace < minGrace {
		add("grace", "grace is %v, less than %s: no stop fits into that; use what terminationGracePeriodSeconds or TimeoutStopSec say", c.Grace, spoken(minGrace))
	}
	if c.Grace > maxGrace {
		add("grace", "grace is %v, longer than %s: no platform waits for that; use what terminationGracePeriodSeconds or TimeoutStopSec say", c.Grace, spoken(maxGrace))
	}
	if c.Concurrency == 0 && c.file.has("concurrency") {
		add("concurrency", noConcurrency)
	}
	if c.Concurrency < 0 {
		add("concurrency", "concurrency is %d: use a positive number, or leave it out for 10", c.Concurrency)
	}
	if c.Concurrency > maxCount {
		add("concurrency", "concurrency is %d, more than %d: is that meant?", c.Concurrency, maxCount)
	}
	if c.Retention != 0 || c.file.has("retention") {
		if c.Retention < minRetention || c.Retention > maxDelay {
			add("retention", "retention is %v: use %s to %s, or leave it out for 7 days", c.Retention, spoken(minRetention), spoken(maxDelay))
		}
	}
	if c.Listen != "" {
		if err := checkListen(c.Listen, c.TokenFile != ""); err != nil {
			add("listen", "%v", err)
		}
	}
	if c.ProbeListen != "" {
		if err := checkPort(c.ProbeListen); err != nil {
			add("probeListen", "probeListen %q: %v: write it as :8322", c.ProbeListen, err)
		} else if sameListener(cmp.Or(c.Listen, defaultListen), c.ProbeListen) {
			add("probeListen", "probeListen %q is where listen is: give it a port of its own, as :8322", c.ProbeListen)
		}
	}
	if !slices.Contains([]string{"", logAuto, logText, logJSON}, c.LogFormat) {
		add("logFormat", "logFormat %q: use text, json or auto", c.LogFormat)
	}
	return append(all, c.demoFaults()...)
}

// checkListen refuses an address that other machines can reach, unless there are tokens: any client
// that reaches the interface can start tasks.
func checkListen(listen string, tokens bool) error {
	if err := checkPort(listen); err != nil {
		return fmt.Errorf("listen %q: %w: write it as %s", listen, err, defaultListen)
	}
	host, _, err := net.SplitHostPort(listen)
	if err != nil {
		return err
	}
	if tokens || isLoopback(host) {
		return nil
	}
	return fmt.Errorf("listen %q is not a loopback address: everybody who can reach it could start tasks: name those who may with --token-file (tokenFile:), or use %s", listen, defaultListen)
}

// checkPort refuses an address whose port is not a valid one.
func checkPort(address string) error {
	_, port, err := net.SplitHostPort(address)
	if err != nil {
		return err
	}
	n, err := strconv.Atoi(port)
	switch {
	case err == nil && (n < 0 || n > 65535):
		return fmt.Errorf("port %d does not exist: use one from 1 to 65535, or 0 for any free one", n)
	case err == nil:
		return nil
	}
	if _, err := net.DefaultResolver.LookupPort(context.Background(), "tcp", port); err != nil {
		return fmt.Errorf("port %.40q is neither a number nor the name of a service", port)
	}
	return nil
}

// sameListener reports whether two addresses cannot be listened on at once.
func sameListener(a, b string) bool {
	hostA, portA, errA := net.SplitHostPort(a)
	hostB, portB, errB := net.SplitHostPort(b)
	if errA != nil || errB != nil || portA != portB || portA == "0" || portA == "" {
		return false
	}
	every := func(host string) bool {
		addr, err := netip.ParseAddr(strings.Trim(host, "[]"))
		return host == "" || err == nil && addr.IsUnspecified()
	}
	return strings.EqualFold(hostA, hostB) || every(hostA) || every(hostB)
}

// isLoopback reports whether a host, without its port, can be reached from this machine only.
func isLoopback(host string) bool {
	if strings.EqualFold(host, "localhost") {
		return true
	}
	addr, err := netip.ParseAddr(strings.Trim(host, "[]"))
	return err == nil && addr.IsLoopback()
}
