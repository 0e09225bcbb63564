package onlytests

import _ "broken.test/suite"
