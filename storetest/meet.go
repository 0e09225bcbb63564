package storetest
var meetRules []rule
