package main

import (
	"regexp"
	"strings"

	"github.com/spf13/pflag"

	"github.com/lastcall-go/lastcall/rehearse"
)

// trafficFlags are what clients ask a rehearsed program for.
type trafficFlags struct{ http, slow []string }

// flags adds the flags.
func (t *trafficFlags) flags(f *pflag.FlagSet) {
	f.StringArrayVar(&t.http, "http", nil, "URL[,METHOD[,BODY]] that clients ask for, and that answers when the program is ready; may be given several times")
	f.StringArrayVar(&t.slow, "slow", nil, "URL[,METHOD[,BODY]] that takes a second or some to answer: three requests for it are in flight at the signal")
}

// targets are what was given.
func (t *trafficFlags) targets() (targets []rehearse.Target) {
	for _, text := range t.http {
		targets = append(targets, httpTarget(text, rehearse.Ask))
	}
	for _, text := range t.slow {
		targets = append(targets, httpTarget(text, rehearse.Slow))
	}
	return targets
}

// method finds the first comma that a method follows: an address may have commas too.
var method = regexp.MustCompile(`^(.*?),([A-Z]+)(?:,(.*))?$`)

// httpTarget reads URL[,METHOD[,BODY]].
func httpTarget(text string, use rehearse.Use) rehearse.Target {
	parts := method.FindStringSubmatch(text)
	if parts == nil {
		return rehearse.Target{URL: text, Use: use}
	}
	target := rehearse.Target{URL: parts[1], Use: use, Method: parts[2], Body: parts[3]}
	if trimmed := strings.TrimSpace(target.Body); strings.HasPrefix(trimmed, "{") || strings.HasPrefix(trimmed, "[") {
		target.Header = map[string][]string{"Content-Type": {"application/json"}}
	}
	return target
}
