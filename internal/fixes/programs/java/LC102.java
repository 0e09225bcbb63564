/** A long job. At a stop the program waits for it, however long that takes. */
class Main {
    static void work() throws InterruptedException {
        Thread.sleep(3600 * 1000);
    }

    public static void main(String[] args) throws InterruptedException {
        Thread worker = Thread.currentThread();
        Runtime.getRuntime().addShutdownHook(new Thread(() -> {
            try {
                worker.join();
            } catch (InterruptedException e) {
                Thread.currentThread().interrupt();
            }
            Runtime.getRuntime().halt(0);
        }));
        work();
    }
}
