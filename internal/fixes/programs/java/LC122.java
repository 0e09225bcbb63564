/** A worker that fills its cache at startup, and cannot be stopped meanwhile. */
class Main {
    static volatile boolean stopping;

    static void load(int part) throws InterruptedException {
        Thread.sleep(200);
    }

    public static void main(String[] args) throws InterruptedException {
        Thread worker = Thread.currentThread();
        Runtime.getRuntime().addShutdownHook(new Thread(() -> {
            stopping = true;
            try {
                worker.join();
            } catch (InterruptedException e) {
                Thread.currentThread().interrupt();
            }
            Runtime.getRuntime().halt(0); // otherwise the virtual machine exits with 143
        }));
        for (int part = 0; part < 300; part++) {
            load(part);
        }
        while (!stopping) {
            Thread.sleep(200); // the work
        }
    }
}
