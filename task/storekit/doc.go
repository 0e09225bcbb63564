// Package storekit has what every [task.Store] needs and what is the same in all of them: the
// numbers of Wait, the list of the contract's own errors, ids as bytes, and Meta as text. Only
// those who implement a store need it.
package storekit
