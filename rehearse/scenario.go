package rehearse

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// Scenario is the name of one way in which a pod ends.
type Scenario string

const (
	// Delete is what a rollout, a scale-down and a drain do: the API server marks the pod, its endpoint
	// is taken away, and the kubelet stops the containers with the whole grace.
	Delete Scenario = "delete"
	// ForceDelete is kubectl delete --force --grace-period=0: the pod is gone from the API at once, and
	// its process has two seconds.
	ForceDelete Scenario = "force-delete"
	// HardEviction is what the kubelet does when its node runs out of memory or disk: two seconds, and
	// the endpoint stays until the containers are gone.
	HardEviction Scenario = "hard-eviction"
)

// Quick are the scenarios of a first verdict, in less than 15 seconds.
func Quick() []Scenario { return []Scenario{Delete} }

// All are all scenarios, in the order in which they are rehearsed.
func All() []Scenario { return []Scenario{Delete, ForceDelete, HardEviction} }

// order is the stop that the scenario is about.
func (r *rehearsal) order() stopOrder {
	o := stopOrder{pod: int64(r.config.Grace / time.Second)}
	switch r.result.Scenario {
	case ForceDelete:
		o.asked = new(int64)
	case HardEviction:
		o.cause = byHardEviction
	case Delete:
	}
	return o
}

// check returns an error for a name that is none of a scenario.
func (s Scenario) check() error {
	if slices.Contains(All(), s) {
		return nil
	}
	var names []string
	for _, one := range All() {
		names = append(names, string(one))
	}
	return fmt.Errorf("rehearse: there is no scenario %q: they are %s", s, strings.Join(names, ", "))
}
