package sandbox

func callerMain() {}
