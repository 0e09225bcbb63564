//go:build !linux

package sqlitestore

// watchOthers does nothing: what other processes do is found by polling.
func (s *Store) watchOthers() {}

func (d *lockDir) notifyOf(string) {}
