package main

import "testing"

func TestHelp_EveryCommandSaysWhatItDoesAndHasAnExample(t *testing.T) {
	for _, c := range newRoot().Commands() {
		if c.Short == "" || c.Example == "" && !c.HasSubCommands() {
			t.Errorf("%s: short %q, example %q", c.Name(), c.Short, c.Example)
		}
	}
}
