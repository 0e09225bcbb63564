package manifest

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"time"

	core "k8s.io/api/core/v1"
)

// limit is a time that a program gives itself to end.
type limit struct {
	name, path string
	takes      time.Duration
	// known is whether the setting's meaning is known, rather than guessed from its name. wholeGrace
	// is whether it is the grace as a whole, of which the program itself reserves a part.
	known, wholeGrace bool
}

// limits returns the limits in a container's arguments and variables.
func limits(c *core.Container) (all []limit) {
	for i := range c.Env {
		e := &c.Env[i]
		takes, ok := duration(e.Value, e.Name)
		at := fmt.Sprintf(".env[%d]", i)
		switch {
		case e.Name == "GUNICORN_CMD_ARGS":
			all = append(all, inWords(strings.Fields(e.Value), at)...)
		case !ok:
		case e.Name == "LASTCALL_GRACE":
			all = append(all, limit{name: e.Name, path: at, takes: takes, known: true, wholeGrace: true})
		case knownVariables[e.Name] || likeLimit(e.Name):
			all = append(all, limit{name: e.Name, path: at, takes: takes, known: knownVariables[e.Name]})
		}
	}
	all = append(all, inWords(c.Command, ".command")...)
	return append(all, inWords(c.Args, ".args")...)
}

// knownVariables are those that, according to the documentation, limit how long a server waits when
// it is stopped.
var knownVariables = map[string]bool{
	"SPRING_LIFECYCLE_TIMEOUT_PER_SHUTDOWN_PHASE": true, // Spring Boot
	"QUARKUS_SHUTDOWN_TIMEOUT":                    true,
	"DOTNET_SHUTDOWNTIMEOUTSECONDS":               true, // the .NET host
	"ASPNETCORE_SHUTDOWNTIMEOUTSECONDS":           true,
}

// knownFlags are flags of servers, with the same meaning.
var knownFlags = map[string]bool{
	"--graceful-timeout":          true, // gunicorn, hypercorn
	"--timeout-graceful-shutdown": true, // uvicorn
	"--drain-time-s":              true, // envoy
}

// inWords finds limits in --flag=value and --flag value. The words of a shell are those of its
// command.
func inWords(words []string, at string) (all []limit) {
	if text := shellOf(words); strings.TrimSpace(text) != "" {
		words = strings.Fields(text)
	}
	for i, word := range words {
		if !strings.HasPrefix(word, "-") {
			continue
		}
		flag, value, ok := strings.Cut(word, "=")
		if !ok && i+1 < len(words) {
			value = words[i+1]
		}
		if takes, ok := duration(value, flag); ok && (knownFlags[flag] || likeLimit(flag)) {
			all = append(all, limit{name: flag, path: at, takes: takes, known: knownFlags[flag]})
		}
	}
	return all
}

var (
	aboutStop = regexp.MustCompile(`(?i)(shutdown|graceful|drain|termination|stop)`)
	aboutTime = regexp.MustCompile(`(?i)(timeout|grace|period|deadline|seconds|wait|time|budget|delay)`)
	millis    = regexp.MustCompile(`(?i)(ms|millis|milliseconds)$`)
	isoTime   = regexp.MustCompile(`^PT(\d+H)?(\d+M)?(\d+S)?$`)
)

// likeLimit reports whether a name sounds like the time that a program takes to stop.
func likeLimit(name string) bool { return aboutStop.MatchString(name) && aboutTime.MatchString(name) }

// duration parses 30s, PT30S, and a bare 30 as seconds, or as milliseconds if the name says so.
func duration(text, name string) (time.Duration, bool) {
	if iso := isoTime.FindString(strings.ToUpper(text)); iso != "" && len(iso) > 2 {
		text = strings.ToLower(iso[2:])
	}
	if n, err := strconv.ParseFloat(text, 64); err == nil && n >= 0 && n < 1e9 {
		unit := time.Second
		if millis.MatchString(name) {
			unit = time.Millisecond
		}
		return time.Duration(n * float64(unit)), true
	}
	d, err := time.ParseDuration(text)
	return d, err == nil && d >= 0
}
