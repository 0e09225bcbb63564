package rehearse

import "time"

// usualStart is the assumed start time of a program about which nothing is known.
const usualStart = 500 * time.Millisecond

// Estimate returns how long a rehearsal takes at most, for a program that becomes ready within half
// a second. The rehearsal of a program that exits sooner is shorter.
func Estimate(c Config) (time.Duration, error) {
	if err := c.complete(); err != nil {
		return 0, err
	}
	sum := dumpPatience // at most once
	for _, s := range c.Scenarios {
		p := s.plan()
		if p.lacks != nil && p.lacks(&c) != "" {
			continue
		}
		for _, step := range p.steps {
			if step.takes != nil {
				sum += step.takes(&c, p)
			}
		}
	}
	return sum, nil
}

func startTime(*Config, *plan) time.Duration { return usualStart }

func serveTime(_ *Config, p *plan) time.Duration { return p.servesFor() }

// hookTime is how long a preStop hook takes: known if it sleeps, and otherwise the most that it may
// take.
func hookTime(c *Config, p *plan) time.Duration {
	most := hookPatience(c.order(p).seconds())
	switch hook := c.Program.PreStop; {
	case hook == nil:
		return 0
	case hook.Sleep != nil:
		return min(*hook.Sleep, most)
	}
	return most
}

// endTime is how long a program may take from the signal to its exit.
func endTime(c *Config, p *plan) time.Duration {
	most := max(untilKill(c.order(p).seconds()), c.lag(p)) + slowLead
	if p.scenario == Frozen {
		most = min(most, noReaction+slowLead)
	}
	if c.CutShort {
		most = min(most, max(quickEnough, c.lag(p)))
	}
	return most
}

// sidecarTime is how long sidecars may take beyond the grace period: their turn comes at its end at
// the latest.
func sidecarTime(c *Config, p *plan) time.Duration {
	switch {
	case len(c.Sidecars) == 0:
		return 0
	case c.CutShort:
		return min(untilKill(c.order(p).seconds()), quickEnough)
	}
	return minimumGrace * time.Second
}

func sidecarCrashTime(*Config, *plan) time.Duration { return withoutSidecars }

func besideTime(*Config, *plan) time.Duration { return usualStart }

func overrunTime(c *Config, p *plan) time.Duration { return hookPatience(c.order(p).seconds()) }
