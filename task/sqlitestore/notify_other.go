//go:build !linux

package sqlitestore

// watchOthers does nothing: changes by other processes are found by polling.
func (s *Store) watchOthers() {}

func (d *lockDir) notifyOf(string) {}
