package main

import (
	"errors"
	"strings"

	"github.com/spf13/pflag"

	"github.com/lastcall-go/lastcall/rehearse"
)

// scenarioFlags are the flags of what is rehearsed, and for how long.
type scenarioFlags struct {
	names             []string
	quick, wholeGrace bool
}

func (s *scenarioFlags) flags(f *pflag.FlagSet) {
	var all []string
	for _, one := range rehearse.All() {
		all = append(all, string(one))
	}
	f.StringSliceVar(&s.names, "scenario", nil, "how the pod ends, or all: "+strings.Join(all, ", ")+"; delete without this flag")
	f.BoolVar(&s.quick, "quick", false, "a verdict in less than 15 s, as without --scenario")
	f.BoolVar(&s.wholeGrace, "whole-grace", false, "wait for the whole grace where no --scenario is given, and not 10 s at most")
}

// apply says in a configuration what is rehearsed. A verdict without a scenario is a quick one.
func (s *scenarioFlags) apply(c *rehearse.Config) error {
	if s.quick && (s.wholeGrace || len(s.names) > 0) {
		return usageError{errors.New("--quick is the scenario delete, and does not wait: leave --scenario and --whole-grace out")}
	}
	c.CutShort = !s.wholeGrace && len(s.names) == 0
	for _, name := range s.names {
		if name == "all" {
			c.Scenarios = append(c.Scenarios, rehearse.All()...)
			continue
		}
		c.Scenarios = append(c.Scenarios, rehearse.Scenario(name))
	}
	return nil
}
